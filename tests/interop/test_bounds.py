"""What one client, or very many, can make the server hold: memory, descriptors, and CPU time."""

import select
import shlex
import socket
import time
import unittest

from server import (
    BINARIES,
    PATIENCE,
    TICKS_PER_SECOND,
    InteropTest,
    allow_many_descriptors,
    until,
)

MEBIBYTE = 1 << 20


class Bounds(InteropTest):
    def flood(self, stream, most):
        """Writes and never reads, until nothing has been taken for two seconds."""
        stream.setblocking(False)
        part, written = bytes(262144), 0
        while written < most and select.select([], [stream], [], 2.0)[1]:
            try:
                written += stream.send(part)
            except BlockingIOError:
                pass
        return written

    def test_a_client_that_never_reads_is_not_read_and_costs_its_queue(self):
        for queue_limit, limit in (("64KiB", 65536), ("1MiB", MEBIBYTE), ("8MiB", 8 * MEBIBYTE)):
            with self.subTest(queue_limit=queue_limit):
                server = self.serve("--queue-limit", queue_limit)
                warm = self.connect(server)
                warm.sendall(b"x")
                self.assertEqual(warm.recv(1), b"x")
                before = server.resident()
                stream = self.connect(server)
                written = self.flood(stream, 256 * MEBIBYTE)
                self.assertLess(written, 256 * MEBIBYTE, "the server stops reading")
                self.assertLessEqual(server.resident() - before, limit + 4 * MEBIBYTE)
                self.assertTrue(server.lives())

                server.until_quiet()
                busy = server.ticks()
                time.sleep(1.0)  # what is measured, not what is waited for
                self.assertLessEqual(server.ticks() - busy, 2)
                warm.sendall(b"y")
                self.assertEqual(warm.recv(1), b"y", "the others are served")
                stream.close()
                server.stop()

    def test_forty_clients_that_never_read_cost_forty_queues(self):
        server = self.serve("--queue-limit", "256KiB")
        streams = [self.connect(server, receive_buffer=4096) for _ in range(40)]
        before = server.resident()
        for stream in streams:
            stream.setblocking(False)
        part, last_taken = bytes(65536), time.monotonic()
        while time.monotonic() - last_taken < 2.0:
            for stream in select.select([], streams, [], 0.1)[1]:
                try:
                    stream.send(part)
                    last_taken = time.monotonic()
                except BlockingIOError:
                    pass
        self.assertLessEqual(server.resident() - before, 40 * 262144 + 8 * MEBIBYTE)
        for stream in streams:
            stream.close()
        server.stop()

    def test_answers_that_are_longer_than_what_was_asked_are_bounded_too(self):
        server = self.serve("--prefix", "p" * 10_000)
        before = server.resident()
        stream = self.connect(server)
        stream.setblocking(False)
        written = 0
        while select.select([], [stream], [], 2.0)[1]:
            try:
                written += stream.send(b"\n" * 65536)
            except BlockingIOError:
                pass
        stream.shutdown(socket.SHUT_WR)
        server.until_quiet()
        self.assertLess(written, 64 * MEBIBYTE)
        self.assertLessEqual(server.resident() - before, 4 * MEBIBYTE)
        stream.close()
        server.stop()

    def short_of_descriptors(self, *arguments, at_least=1):
        """150 clients come to a server that may have 64 descriptors."""
        command = [BINARIES / "echo-server", "--listen", "127.0.0.1:0", *arguments]
        script = "ulimit -n 64; exec " + " ".join(shlex.quote(str(part)) for part in command)
        server = self.serve(wrapper=("bash", "-c", script), listen=(), ready=1)
        lines_before = len(server.errors().splitlines())
        waiting = {}
        for number in range(150):
            stream = self.connect(server)
            stream.sendall(b"%03d" % number)
            waiting[stream] = b"%03d" % number
        latencies, served = [], []
        serving = self.answered(waiting, at_least)
        server.until_quiet(0.05)

        busy, began = server.ticks(), time.monotonic()
        time.sleep(3.0)  # what is measured, not what is waited for
        share = (server.ticks() - busy) / TICKS_PER_SECOND / (time.monotonic() - began)
        self.assertLess(share, 0.02, "it does not spin")

        for stream in serving:
            stream.sendall(b"again")
        for stream in serving:
            self.assertEqual(stream.recv(16), b"again", "who is in is answered")
        self.assertFalse(select.select(list(waiting), [], [], 0)[0], "who is not in waits")

        while waiting:
            for stream in serving:
                stream.close()
            served += serving
            closed = time.monotonic()
            serving = self.answered(waiting, at_least=1)
            latencies.append(time.monotonic() - closed)
        self.assertEqual(len(served) + len(serving), 150)
        self.assertLess(min(latencies), 1.0, "freed descriptors are used within a second")
        self.assertTrue(server.lives())
        news = server.errors().splitlines()[lines_before:]
        self.assertLessEqual(len(news), 5, news)
        server.stop()

    def answered(self, waiting, at_least):
        """Who has been answered, when nobody else has been for half a second."""
        deadline = time.monotonic() + PATIENCE
        streams = []
        while True:
            ready, _, _ = select.select(list(waiting), [], [], 0.5 if len(streams) >= at_least else PATIENCE)
            if not ready or time.monotonic() > deadline:
                break
            for stream in ready:
                self.assertEqual(stream.recv(16), waiting.pop(stream))
                streams.append(stream)
        self.assertGreaterEqual(len(streams), at_least)
        return streams

    def test_more_clients_than_descriptors_wait_their_turn(self):
        self.short_of_descriptors("--max-connections", "10000", at_least=40)

    def test_the_default_limit_follows_from_the_descriptors(self):
        self.short_of_descriptors(at_least=16)

    def test_a_limit_on_connections_makes_clients_wait(self):
        self.short_of_descriptors("--max-connections", "32", at_least=32)

    def test_a_limit_per_address_refuses(self):
        server = self.serve("--max-per-ip", "2")
        guests = [self.connect(server) for _ in range(2)]
        for guest in guests:
            guest.sendall(b"x")
            self.assertEqual(guest.recv(1), b"x")
        refused = self.connect(server)
        self.assertTrue(ended(refused))
        elsewhere = self.connect(server, source="127.0.0.2")
        elsewhere.sendall(b"y")
        self.assertEqual(elsewhere.recv(1), b"y")
        guests.pop().close()

        def enters():
            stream = self.connect(server)
            try:
                stream.sendall(b"z")
                return stream.recv(1) == b"z"
            except ConnectionError:
                return False

        until(enters, "the place of one who left is free")
        server.stop()

    def test_a_thousand_idle_connections_wake_nobody(self):
        allow_many_descriptors()
        server = self.serve("--idle-timeout", "0")
        streams = [self.connect(server) for _ in range(1000)]
        for stream in streams:
            stream.sendall(b"x")
        for stream in streams:
            self.assertEqual(stream.recv(1), b"x")
        server.until_quiet()
        before = server.switches()
        time.sleep(3.0)  # what is measured, not what is waited for
        self.assertEqual(server.switches(), before)
        for stream in streams:
            stream.close()
        server.stop()

    def test_an_idle_connection_is_closed_in_time_and_a_busy_one_is_not(self):
        server = self.serve("--idle-timeout", "1s")
        idle, busy = self.connect(server), self.connect(server)
        began = time.monotonic()
        idle.settimeout(0.1)
        while True:
            busy.sendall(b"x")
            self.assertEqual(busy.recv(1), b"x")
            try:
                self.assertEqual(idle.recv(1), b"")
                break
            except socket.timeout:
                self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertGreaterEqual(time.monotonic() - began, 0.9)
        busy.sendall(b"y")
        self.assertEqual(busy.recv(1), b"y")
        server.stop()


def ended(stream):
    try:
        return stream.recv(1) == b""
    except ConnectionError:
        return True


if __name__ == "__main__":
    unittest.main()
