"""How the server stops, and what does not stop it."""

import os
import pty
import random
import re
import signal
import socket
import subprocess
import time
import unittest

from server import PATIENCE, InteropTest, Wire, receive_all, until

QUEUED = 12 << 20


class Stop(InteropTest):
    def queue_megabytes(self, server):
        """A client whose bytes the server has read, all of them, while it has read none of the echo."""
        content = random.Random(7).randbytes(QUEUED)
        stream = self.connect(server, receive_buffer=65536)
        self.assertTrue(Wire(stream, content).done())
        until(lambda: unread_by_server(stream) == 0, "the server has read all that was sent")
        server.until_quiet()
        return stream, content

    def refuses(self, server):
        """Whether it lets nobody in. Who was let in by asking counts as drained: what stopped is not (1, 0) then."""
        try:
            socket.create_connection(server.host_and_port(), timeout=PATIENCE).close()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass  # it was in the backlog when the listener closed
        return False

    def test_what_is_queued_is_drained_and_then_comes_the_end(self):
        server = self.serve("--queue-limit", "64MiB", "--grace", "60s")
        stream, content = self.queue_megabytes(server)
        server.signal(signal.SIGTERM)
        until(lambda: self.refuses(server), "nobody new is let in")
        self.assertTrue(server.lives(), "it waits for the one who has not read")
        self.assert_same_bytes(receive_all(stream), content)
        stream.close()
        drained, forced = server.stopped()
        self.assertGreaterEqual(drained, 1)
        self.assertEqual(forced, 0)

    def test_what_is_queued_for_many_is_drained(self):
        server = self.serve("--grace", "60s")
        clients = []
        for number in range(20):
            content = random.Random(number).randbytes(100_000 + number)
            stream = self.connect(server, receive_buffer=4096)
            self.assertTrue(Wire(stream, content).done())
            until(lambda: unread_by_server(stream) == 0, "the server has read all that was sent")
            clients.append((stream, content))
        server.signal(signal.SIGINT)
        for stream, content in clients:
            self.assert_same_bytes(receive_all(stream), content)
            stream.close()
        self.assertEqual(server.stopped(), (20, 0))

    def test_a_second_signal_forces(self):
        server = self.serve("--queue-limit", "64MiB", "--grace", "300s")
        stream, _ = self.queue_megabytes(server)
        server.signal(signal.SIGTERM)
        until(lambda: self.refuses(server), "nobody new is let in")
        self.assertTrue(server.lives())
        began = time.monotonic()
        _, forced = server.stop()
        self.assertEqual(forced, 1)
        self.assertLess(time.monotonic() - began, 30.0)
        with self.assertRaises(ConnectionResetError, msg="a cut is told from an end"):
            receive_all(stream)

    def test_signals_while_the_last_loop_drains_are_logged_like_all_others(self):
        # Which loop has the client is up to the kernel: the other one is done at once.
        for _ in range(4):
            server = self.serve("--loops", "2", "--queue-limit", "64MiB", "--grace", "300s")
            stream, _ = self.queue_megabytes(server)
            server.signal(signal.SIGTERM)
            until(lambda: self.refuses(server), "nobody new is let in")
            server.until_quiet(0.1)
            for number, told in (
                (signal.SIGHUP, "SIGHUP: there is nothing to reload"),
                (signal.SIGUSR1, "SIGUSR1: there is no trace to write"),
            ):
                server.signal(number)
                until(lambda: told in server.errors(), told)
            _, forced = server.stop(signal.SIGINT)
            self.assertEqual(forced, 1)
            self.assertIn("SIGINT again: stopping at once", server.errors())
            stream.close()

    def test_patience_ends_with_the_grace(self):
        server = self.serve("--queue-limit", "64MiB", "--grace", "500ms")
        stream, _ = self.queue_megabytes(server)
        self.assertEqual(server.stop(), (0, 1))
        stream.close()

    def test_a_stop_without_anybody(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            for loops in ("1", "2"):
                with self.subTest(signal=number, loops=loops):
                    self.assertEqual(self.serve("--loops", loops).stop(number), (0, 0))

    def test_quiet_says_nothing(self):
        server = self.serve("-q")
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)
        self.assertEqual(server.errors(), "")

    def test_a_hang_up_and_a_user_signal_change_nothing(self):
        server = self.serve()
        stream = self.connect(server)
        for number in (signal.SIGHUP, signal.SIGUSR1):
            lines = len(server.errors().splitlines())
            server.signal(number)
            until(lambda: len(server.errors().splitlines()) > lines, "the signal is logged")
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
        stream.close()
        server.stop()

    def test_a_closed_stdout_and_stderr_stop_nothing(self):
        read_end, write_end = os.pipe()
        server = self.serve("-v", stderr=write_end)
        os.close(write_end)
        server.process.stdout.close()
        os.close(read_end)
        for number in range(20):
            stream = self.connect(server)
            stream.sendall(b"%d" % number)
            stream.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(stream), b"%d" % number)
            stream.close()
        server.signal(signal.SIGHUP)
        stream = self.connect(server)
        stream.sendall(b"still here")
        self.assertEqual(stream.recv(64), b"still here")
        stream.close()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)

    def test_a_full_stderr_stops_nothing(self):
        with open("/dev/full", "wb") as full:
            server = self.serve("-v", stderr=full)
        stream = self.connect(server)
        stream.sendall(b"x")
        self.assertEqual(stream.recv(1), b"x")
        stream.close()
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)

    def test_a_pipe_that_nobody_reads_stops_nothing(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.serve("-vv", "--loops", loops, stderr=subprocess.PIPE)
                self.come_and_go(server, 3000)
                # The pipe holds 64 KiB, and what there was to say is many times that.
                server.signal(signal.SIGHUP)
                self.come_and_go(server, 10)
                server.signal(signal.SIGTERM)
                self.assertEqual(server.wait(), 0)
                log = server.process.stderr.read()
                self.assertGreater(len(log), 16384)
                self.assertTrue(log.endswith(b"\n"), "each line is whole or lost")
                self.assertNotIn(b"stopped: ", log, "there was no room")

    def test_who_reads_late_is_told_how_much_was_lost(self):
        server = self.serve("-vv", stderr=subprocess.PIPE)
        self.come_and_go(server, 2000)
        os.set_blocking(server.process.stderr.fileno(), False)
        log = b""

        def told():
            nonlocal log
            self.come_and_go(server, 1)
            log += server.process.stderr.read() or b""
            return re.search(rb"^\d+ log lines were lost: nobody read them$", log, re.MULTILINE)

        until(told, "the loss is told")
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)
        log += server.process.stderr.read() or b""
        self.assertIn(b" stopped: ", log.splitlines()[-1])

    def test_a_terminal_that_nobody_reads_stops_nothing(self):
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        server = self.serve("-vv", stderr=theirs)
        os.close(theirs)
        self.come_and_go(server, 3000)
        server.signal(signal.SIGTERM)
        self.assertEqual(server.wait(), 0)

    def come_and_go(self, server, count):
        for _ in range(count):
            stream = self.connect(server)
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
            stream.close()


def unread_by_server(stream):
    """Bytes that wait in the socket at the other end, which is on this machine too, or are on their way."""
    local, remote = stream.getsockname()[1], stream.getpeername()[1]
    ours = theirs = None
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            ports = tuple(int(field.partition(":")[2], 16) for field in fields[1:3])
            waiting = tuple(int(field, 16) for field in fields[4].split(":"))
            if ports == (local, remote):
                ours = waiting
            elif ports == (remote, local):
                theirs = waiting
    return None if ours is None or theirs is None else ours[0] + theirs[1]


if __name__ == "__main__":
    unittest.main()
