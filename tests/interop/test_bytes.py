"""What is sent comes back, byte for byte, however slowly its sender reads."""

import hashlib
import os
import random
import select
import signal
import socket
import time
import unittest

from server import PATIENCE, InteropTest, Wire, receive, receive_all, until

SIZES = [1, 2, 1023, 4096, 65536, 65537, 1 << 20, 8 << 20]
NARROW = 4096
PAUSE = 3.0


class Bytes(InteropTest):
    def narrow_clients(self, finish):
        """Clients of every size write, read nothing for a while, and then read without sending again."""
        server = self.serve()
        clients = []
        for size in SIZES:
            content = random.Random(size).randbytes(size)
            stream = self.connect(server, receive_buffer=NARROW)
            clients.append((stream, content, Wire(stream, content, finish=finish)))
        server.until_quiet()

        before = server.ticks()
        time.sleep(PAUSE)  # what is measured, not what is waited for
        self.assertLessEqual(server.ticks() - before, 2, "a server that waits uses no CPU")

        for stream, content, wire in clients:
            with self.subTest(size=len(content)):
                echo = receive_all(stream) if finish else receive(stream, len(content))
                self.assert_same_bytes(echo, content)
                self.assertTrue(wire.done())
                if not finish:
                    stream.setblocking(False)
                    with self.assertRaises(BlockingIOError, msg="the connection is still open"):
                        stream.recv(1)
        self.assertTrue(server.lives())
        server.stop()

    def test_every_size_comes_back_to_a_client_that_pauses_before_it_reads(self):
        self.narrow_clients(finish=False)

    def test_every_size_comes_back_to_a_client_that_has_finished_sending(self):
        self.narrow_clients(finish=True)

    def test_an_end_without_a_byte_is_answered_with_an_end(self):
        server = self.serve()
        stream = self.connect(server)
        stream.shutdown(socket.SHUT_WR)
        self.assertEqual(stream.recv(1), b"")
        server.stop()

    def test_each_byte_by_itself(self):
        server = self.serve()
        stream = self.connect(server)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for value in range(256):
            stream.sendall(bytes([value]))
            self.assertEqual(stream.recv(16), bytes([value]))
        server.stop()

    def sent_while_stopped(self, server, stream, send):
        """What comes back of what was sent while the server could not see it arrive piece by piece."""
        stream.settimeout(PATIENCE)
        stream.sendall(b"!")
        self.assertEqual(stream.recv(1), b"!")
        server.until_quiet()
        server.signal(signal.SIGSTOP)
        until(lambda: server.state() == "T", "the server has stopped")
        expected = send()
        server.signal(signal.SIGCONT)
        self.assert_same_bytes(receive(stream, len(expected)), expected)
        stream.close()
        server.stop()

    def test_bytes_behind_urgent_data_are_not_forgotten(self):
        """A read ends before urgent data, however much lies behind: a short read is no empty socket."""
        server = self.serve()
        stream = self.connect(server)

        def send():
            stream.sendall(b"a" * 1000)
            stream.send(b"u", socket.MSG_OOB)
            stream.sendall(b"b" * 1000)
            return b"a" * 1000 + b"b" * 1000

        self.sent_while_stopped(server, stream, send)

    def test_bytes_behind_passed_descriptors_are_not_forgotten(self):
        path = os.path.join(self.temporary_directory(), "x.sock")
        server = self.serve(listen=(f"unix:{path}",))
        stream = socket.socket(socket.AF_UNIX)
        self.addCleanup(stream.close)
        stream.connect(path)

        def send():
            for _ in range(3):
                socket.send_fds(stream, [b"a" * 1000], [0])
            stream.sendall(b"b" * 1000)
            return b"a" * 3000 + b"b" * 1000

        self.sent_while_stopped(server, stream, send)

    def test_a_server_that_is_stopped_and_continued_loses_nothing(self):
        server = self.serve()
        content = random.Random(6).randbytes(32 << 20)
        stream = self.connect(server)
        wire = Wire(stream, content, finish=True)
        digest, received, stops = hashlib.sha256(), 0, 0
        while True:
            part = stream.recv(262144)
            if not part:
                break
            digest.update(part)
            received += len(part)
            if received * 5 > len(content) * (stops + 1) and stops < 4:
                stops += 1
                received += self.stop_and_continue(server, stream, wire, digest)
        self.assertEqual(stops, 4)
        self.assertEqual(received, len(content))
        self.assertEqual(digest.digest(), hashlib.sha256(content).digest())
        self.assertTrue(wire.done())
        server.stop()

    def stop_and_continue(self, server, stream, wire, digest):
        """Reads what was on its way, until nothing moves any more; how many bytes that was."""
        server.signal(signal.SIGSTOP)
        until(lambda: server.state() == "T", "the server has stopped")
        received, written = 0, -1
        while written != wire.written:
            written = wire.written
            while select.select([stream], [], [], 0.3)[0]:
                part = stream.recv(262144)
                if not part:
                    break
                digest.update(part)
                received += len(part)
        server.signal(signal.SIGCONT)
        return received


if __name__ == "__main__":
    unittest.main()
