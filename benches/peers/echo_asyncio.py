"""asyncio's own way: a Protocol, not streams, which cost about twice as much. With --uvloop on that loop."""

import asyncio
import sys


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport  # asyncio and uvloop have set TCP_NODELAY

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main(port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", port, backlog=1024)
    address, port = server.sockets[0].getsockname()
    print(f"listening on tcp://{address}:{port}", flush=True)
    await server.serve_forever()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(main(port))
else:
    asyncio.run(main(port))
