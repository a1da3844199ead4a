"""The client: what it sends comes back through it, and what goes wrong is told."""

import hashlib
import random
import socket
import subprocess
import threading
import time
import unittest

from server import BINARIES, PATIENCE, InteropTest, Program, receive_all, until


class Client(InteropTest):
    def assert_fails(self, outcome, *words, output=b""):
        code, printed, errors = outcome
        self.assertEqual(code, 1, errors)
        self.assertEqual(printed, output)
        self.assertEqual(errors.count("error: "), 1, errors)
        self.assertTrue(errors.splitlines()[-1].startswith("error: "), errors)
        for word in words:
            self.assertIn(word, errors.splitlines()[-1])

    def listener(self, answer):
        """A server of one thread that does `answer` with each client; its address."""
        listening = socket.create_server(("127.0.0.1", 0))

        def run():
            while True:
                try:
                    stream, _ = listening.accept()
                except OSError:
                    return
                stream.settimeout(PATIENCE)
                answer(stream)

        self.addCleanup(listening.close)
        self.addCleanup(lambda: listening.shutdown(socket.SHUT_RDWR))
        threading.Thread(target=run, daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    def test_sixty_four_mebibytes_come_back(self):
        server = self.serve()
        content = random.Random(14).randbytes(64 << 20)
        code, output, errors = self.run_client(f"127.0.0.1:{server.port}", input=content, seconds=2 * PATIENCE)
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(hashlib.sha256(output).digest(), hashlib.sha256(content).digest())
        server.stop()

    def test_every_kind_of_address(self):
        path = self.temporary_directory() + "/x.sock"
        server = self.serve(listen=("127.0.0.1:0", f"unix:{path}", "[::1]:0"))
        for address in (
            f"127.0.0.1:{server.port}",
            f"localhost:{server.port}",
            f"[::1]:{server.host_and_port(2)[1]}",
            f"unix:{path}",
        ):
            with self.subTest(address=address):
                self.assertEqual(self.run_client(address, input=b"hello\n"), (0, b"hello\n", ""))
        server.stop()

    def test_a_stdout_that_is_read_late_costs_little_and_loses_nothing(self):
        """Everything between stdin and stdout is full before the first byte is read."""
        server = self.serve()
        content = random.Random(15).randbytes(48 << 20)
        client = Program(
            self, [BINARIES / "echo-client", f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, bufsize=0
        )
        taken = []

        def write():
            view = memoryview(content)
            while view:
                count = client.process.stdin.write(view[:65536])
                taken.append(count)
                view = view[count:]
            client.process.stdin.close()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        seen = [0, time.monotonic()]

        def stalled():
            if len(taken) != seen[0]:
                seen[:] = [len(taken), time.monotonic()]
            return time.monotonic() - seen[1] > 1.0

        until(stalled, "nothing more is taken")
        self.assertLess(sum(taken), len(content))
        self.assertLess(client.resident(), 24 << 20)
        self.assert_same_bytes(client.process.stdout.read(), content)
        writer.join(PATIENCE)
        self.assertEqual(client.wait(), 0, client.errors())
        server.stop()

    def test_nothing_to_send_is_done(self):
        server = self.serve()
        self.assertEqual(self.run_client(f"127.0.0.1:{server.port}"), (0, b"", ""))
        server.stop()

    def test_what_comes_back_is_printed_while_stdin_is_still_open(self):
        server = self.serve()
        client = Program(
            self, [BINARIES / "echo-client", f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, bufsize=0
        )
        for line in (b"one\n", b"two\n"):
            client.process.stdin.write(line)
            self.assertEqual(client.process.stdout.read(len(line)), line)
        client.process.stdin.close()
        self.assertEqual(client.wait(), 0)
        server.stop()

    def test_refused(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{bound.getsockname()[1]}"
            self.assert_fails(self.run_client(address, input=b"x"), "refused", address)

    def test_refused_by_a_unix_socket_that_is_stale_and_by_one_that_is_not_there(self):
        path = self.temporary_directory() + "/x.sock"
        self.assert_fails(self.run_client(f"unix:{path}", input=b"x"), path)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path)
        self.assert_fails(self.run_client(f"unix:{path}", input=b"x"), "refused", path)

    def test_closed_early(self):
        def one_byte_and_no_more(stream):
            stream.sendall(stream.recv(64)[:1])
            stream.shutdown(socket.SHUT_WR)
            receive_all(stream)
            stream.close()

        outcome = self.run_client(self.listener(one_byte_and_no_more), input=b"hello")
        self.assert_fails(outcome, "closed early", output=b"h")

    def test_closed_at_once(self):
        def nothing(stream):
            stream.shutdown(socket.SHUT_WR)
            receive_all(stream)
            stream.close()

        self.assert_fails(self.run_client(self.listener(nothing), input=b"hello"), "closed early")

    def test_reset(self):
        def reset(stream):
            stream.recv(1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            stream.close()

        self.assert_fails(self.run_client(self.listener(reset), input=b"hello"), "reset")

    def test_timed_out(self):
        kept = []
        address = self.listener(kept.append)
        outcome = self.run_client(address, "--timeout", "500ms", input=b"hello")
        self.assert_fails(outcome, "timed out")
        for stream in kept:
            stream.close()

    def test_timed_out_before_it_stands(self):
        """A backlog that is full leaves the next attempt without an answer."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            for _ in range(8):
                waiting = socket.socket()
                self.addCleanup(waiting.close)
                waiting.setblocking(False)
                waiting.connect_ex(listening.getsockname())
            address = f"127.0.0.1:{listening.getsockname()[1]}"
            for retries in ("0", "1"):
                outcome = self.run_client(address, "--timeout", "500ms", "--retries", retries, input=b"x")
                self.assert_fails(outcome, "timed out", address)

    def test_no_time_out_while_nothing_is_due(self):
        server = self.serve()
        address = f"127.0.0.1:{server.port}"
        client = Program(
            self, [BINARIES / "echo-client", address, "--timeout", "200ms"], stdin=subprocess.PIPE, bufsize=0
        )
        client.process.stdin.write(b"one")
        self.assertEqual(client.process.stdout.read(3), b"one")
        with self.assertRaises(subprocess.TimeoutExpired, msg="the client waits for its input, not for bytes"):
            client.process.wait(1.0)
        client.process.stdin.write(b"two")
        client.process.stdin.close()
        self.assertEqual(client.process.stdout.read(), b"two")
        self.assertEqual(client.wait(), 0)
        server.stop()

    def test_name_not_found(self):
        # Where no name server answers, the system's resolver takes its time over it.
        outcome = self.run_client(
            "nonexistent.invalid:9002",
            "--timeout",
            "60s",
            input=b"x",
            seconds=2 * PATIENCE,
            environment={"RES_OPTIONS": "timeout:1 attempts:1"},
        )
        self.assert_fails(outcome, "name not found", "nonexistent.invalid")

    def test_retries_reach_a_port_that_begins_to_listen_late(self):
        listening = socket.socket()
        self.addCleanup(listening.close)
        listening.bind(("127.0.0.1", 0))  # taken, so that nobody else may have it, but refusing
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        failures = failed_connects()
        client = Program(
            self, [BINARIES / "echo-client", address, "--retries", "50"], stdin=subprocess.PIPE, bufsize=0
        )
        until(lambda: failed_connects() >= failures + 2, "it has been refused twice")
        listening.settimeout(PATIENCE)
        listening.listen()
        stream, _ = listening.accept()
        stream.settimeout(PATIENCE)
        client.process.stdin.write(b"at last")
        client.process.stdin.close()
        stream.sendall(receive_all(stream))
        stream.close()
        self.assertEqual(client.process.stdout.read(), b"at last")
        self.assertEqual(client.wait(), 0, client.errors())

    def test_retries_come_to_an_end(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{bound.getsockname()[1]}"
            failures = failed_connects()
            outcome = self.run_client(address, "--retries", "3", input=b"x")
            self.assert_fails(outcome, "refused")
            self.assertGreaterEqual(failed_connects() - failures, 4)

    def test_a_closed_stdout_ends_it_without_a_trace(self):
        server = self.serve()
        client = Program(
            self, [BINARIES / "echo-client", f"127.0.0.1:{server.port}"], stdin=subprocess.PIPE, bufsize=0
        )
        client.process.stdout.close()
        client.process.stdin.write(b"nobody reads this")
        client.process.stdin.close()
        self.assertEqual(client.wait(), 1)
        self.assertNotIn("panicked", client.errors())
        server.stop()


def failed_connects():
    """How many attempts to connect by TCP have failed on this machine."""
    with open("/proc/net/snmp", encoding="ascii") as counters:
        names, numbers = [line.split() for line in counters if line.startswith("Tcp:")]
    return int(numbers[names.index("AttemptFails")])


if __name__ == "__main__":
    unittest.main()
