"""The first chat of a course: a thread for each client, and a lock around the list of those who are there."""

import socket
import sys
import threading

clients = []
lock = threading.Lock()


def serve(client, name):
    try:
        with client.makefile("rb") as lines:
            for line in lines:
                message = name + b": " + line
                with lock:
                    for other in clients:
                        if other is not client:
                            try:
                                other.sendall(message)
                            except OSError:
                                pass  # its own thread will find it gone
    except OSError:
        pass
    with lock:
        clients.remove(client)
    client.close()


# A thread needs little here, and there are thousands.
threading.stack_size(256 * 1024)
listener = socket.create_server(
    ("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), backlog=1024
)
print("listening on tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
number = 0
while True:
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    number += 1
    with lock:
        clients.append(client)
    threading.Thread(target=serve, args=(client, b"guest-%d" % number), daemon=True).start()
