"""The loop of the tutorials: level-triggered, and registered anew whenever what it waits for changes."""

import selectors
import socket
import sys

selector = selectors.DefaultSelector()


def accept(listener):
    try:
        client, _ = listener.accept()
    except BlockingIOError:
        return
    client.setblocking(False)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(client, selectors.EVENT_READ, bytearray())


def close(client):
    selector.unregister(client)
    client.close()


def serve(client, waiting, events):
    try:
        if events & selectors.EVENT_READ:
            data = client.recv(65536)
            if not data:
                close(client)
                return
            waiting += data
        if waiting:
            del waiting[: client.send(waiting)]
    except BlockingIOError:
        pass
    except OSError:
        close(client)
        return
    wanted = selectors.EVENT_WRITE if waiting else selectors.EVENT_READ
    if selector.get_key(client).events != wanted:
        selector.modify(client, wanted, waiting)


listener = socket.create_server(
    ("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), backlog=1024
)
listener.setblocking(False)
selector.register(listener, selectors.EVENT_READ, None)
print("listening on tcp://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
while True:
    for key, events in selector.select():
        if key.data is None:
            accept(key.fileobj)
        else:
            serve(key.fileobj, key.data, events)
