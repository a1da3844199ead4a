"""A network that carries a few bytes at a time, and a kernel that fails: nothing is lost.

`shim.c` is loaded before the program and does both; see there.
"""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

from server import PATIENCE, BINARIES, InteropTest, Program, Wire, receive, receive_all

HERE = pathlib.Path(__file__).resolve().parent
SEEDS = [int(seed) for seed in os.environ.get("INTEROP_SEEDS", "1 2 3 4").split()]
BROKEN = {"SHIM_SHORT": "100", "SHIM_INTERRUPT": "20", "SHIM_AGAIN": "10"}


class Faults(InteropTest):
    @classmethod
    def setUpClass(cls):
        compiler = shutil.which("gcc") or shutil.which("cc")
        if not compiler:
            raise unittest.SkipTest("there is no C compiler")
        cls.directory = tempfile.mkdtemp(prefix="interop-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.shim = os.path.join(cls.directory, "shim.so")
        command = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([*command, "-o", cls.shim, str(HERE / "shim.c")], check=True, timeout=PATIENCE)

    def environment(self, seed, **settings):
        self.report = os.path.join(self.temporary_directory(), "report")
        return {
            "LD_PRELOAD": self.shim,
            "SHIM_SEED": str(seed),
            "SHIM_REPORT": self.report,
            **settings,
        }

    def happened(self):
        """How often each fault was met; known when the program has ended."""
        with open(self.report, encoding="ascii") as report:
            return {name: int(number) for name, number in (line.split() for line in report)}

    def broken_server(self, seed, *arguments, settings=None, **options):
        environment = self.environment(seed, **(settings or BROKEN))
        return self.serve(*arguments, environment=environment, **options)

    def assert_broke(self, *names):
        happened = self.happened()
        for name in names:
            self.assertGreater(happened[name], 0, f"{name}: {happened}")

    def converse(self, address, said, heard, finish=True):
        """One client, in a thread of its own; what went wrong is found in its result."""
        result = []

        def run():
            try:
                family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
                with socket.socket(family) as stream:
                    stream.settimeout(PATIENCE)
                    stream.connect(address)
                    wire = Wire(stream, said, finish=finish)
                    echo = receive_all(stream) if finish else receive(stream, len(heard))
                    wire.done()
                    result.append(echo)
            except (OSError, AssertionError) as error:
                result.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread, result, heard

    def assert_conversations(self, conversations):
        for thread, result, heard in conversations:
            thread.join(2 * PATIENCE)
            self.assertEqual(len(result), 1, "the conversation has ended")
            if isinstance(result[0], Exception):
                raise result[0]
            self.assert_same_bytes(result[0], heard)

    def test_bytes_come_back_a_few_at_a_time(self):
        for seed in SEEDS:
            for finish in (True, False):
                with self.subTest(seed=seed, finish=finish):
                    server = self.broken_server(seed)
                    numbers = random.Random(seed)
                    conversations = []
                    for size in (1, 7, 8, 1000, 65537, 200_000):
                        content = numbers.randbytes(size)
                        conversations.append(self.converse(server.host_and_port(), content, content, finish))
                    self.assert_conversations(conversations)
                    server.stop()
                    self.assert_broke("short_reads", "short_writes", "interrupts", "put_off", "edges")

    def test_edges_alone_carry_all(self):
        """Without EAGAIN and EINTR: whoever takes a short read for an empty socket relies on the edge."""
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed, settings={"SHIM_SHORT": "100"})
                content = random.Random(seed).randbytes(100_000)
                self.assert_conversations(
                    self.converse(server.host_and_port(), content, content, finish) for finish in (True, False)
                )
                server.stop()
                self.assert_broke("short_reads", "short_writes", "edges")

    def test_bytes_come_back_over_a_unix_socket(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                path = os.path.join(self.temporary_directory(), "x.sock")
                server = self.broken_server(seed, listen=(f"unix:{path}",))
                content = random.Random(seed).randbytes(100_000)
                self.assert_conversations([self.converse(path, content, content) for _ in range(3)])
                server.stop()
                self.assert_broke("short_reads", "short_writes", "interrupts", "put_off", "edges")

    def test_bytes_come_back_through_a_small_queue(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed, "--queue-limit", "64")
                content = random.Random(seed).randbytes(50_000)
                self.assert_conversations([self.converse(server.host_and_port(), content, content)])
                server.stop()
                self.assert_broke("short_reads", "short_writes", "interrupts", "put_off", "edges")

    def test_lines_come_back_a_few_bytes_at_a_time(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed, "--prefix", "Echo: ")
                conversations = []
                for number in range(4):
                    said, heard = lines(random.Random(seed * 10 + number), 60_000)
                    conversations.append(self.converse(server.host_and_port(), said, heard))
                self.assert_conversations(conversations)
                server.stop()
                self.assert_broke("short_reads", "short_writes", "interrupts", "put_off", "edges")

    def test_the_client_sends_and_prints_all(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.serve()
                content = random.Random(seed).randbytes(150_000)
                code, output, errors = self.run_client(
                    f"127.0.0.1:{server.port}", input=content, environment=self.environment(seed, **BROKEN)
                )
                self.assertEqual(code, 0, errors)
                self.assert_same_bytes(output, content)
                self.assert_broke("short_reads", "short_writes", "interrupts", "put_off", "edges")
                server.stop()

    def test_client_and_server_both(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed)
                content = random.Random(seed).randbytes(50_000)
                code, output, errors = self.run_client(
                    f"127.0.0.1:{server.port}", input=content, environment=self.environment(seed + 1, **BROKEN)
                )
                self.assertEqual(code, 0, errors)
                self.assert_same_bytes(output, content)
                server.stop()

    def test_what_is_queued_drains_at_the_stop(self):
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed, "--grace", "60s")
                content = random.Random(seed).randbytes(20_000)
                stream = self.connect(server)
                stream.sendall(content)
                self.assertEqual(receive(stream, 1), content[:1])
                drained, forced = self.stop_while_reading(server, stream, content[1:])
                self.assertEqual((drained, forced), (1, 0))

    def stop_while_reading(self, server, stream, rest):
        """What has been read comes back before the end; what had not been read by then may not."""
        server.process.terminate()
        echo = receive_all(stream)
        self.assert_same_bytes(echo, rest[: len(echo)])
        stream.close()
        return server.stopped()

    def test_accept_fails_and_nobody_is_lost(self):
        for seed in SEEDS:
            for loops in ("1", "2"):
                with self.subTest(seed=seed, loops=loops):
                    settings = {"SHIM_ACCEPT": "40", "SHIM_WAIT": "30", "SHIM_INTERRUPT": "10"}
                    server = self.broken_server(seed, "--loops", loops, settings=settings)
                    conversations = []
                    for number in range(60):
                        content = b"client %d\n" % number * (1 + number)
                        conversations.append(
                            self.converse(server.host_and_port(), content, content, number % 2 == 0)
                        )
                    self.assert_conversations(conversations)
                    self.assertTrue(server.lives())
                    server.stop()
                    self.assert_broke("aborted", "protocol", "buffers", "files", "waits")
                    self.assertLessEqual(len(server.errors().splitlines()), 12, server.errors())

    def test_the_last_of_a_backlog_needs_no_other_to_come(self):
        """After ENFILE there is no second edge for who waits already: the server asks again by itself."""
        for seed in SEEDS:
            with self.subTest(seed=seed):
                server = self.broken_server(seed, settings={"SHIM_ACCEPT": "90"})
                self.assert_conversations([self.converse(server.host_and_port(), b"alone", b"alone")])
                server.stop()

    def test_waits_are_interrupted(self):
        server = Program(
            self,
            [BINARIES / "echo-server", "--listen", "127.0.0.1:0", "--idle-timeout", "0"],
            environment=self.environment(1, SHIM_WAIT="50"),
        )
        address = server.process.stdout.readline().decode().strip().rpartition(":")[2]
        self.assert_conversations(
            [self.converse(("127.0.0.1", int(address)), b"x" * 100_000, b"x" * 100_000) for _ in range(8)]
        )
        server.process.terminate()
        self.assertEqual(server.wait(), 0)
        self.assert_broke("waits")


def lines(numbers, size):
    """About so many bytes in lines of all lengths and both endings, the last without one; and the answer."""
    said, heard = [], []
    while sum(map(len, said)) < size:
        text = numbers.randbytes(numbers.choice([0, 1, 5, 50, 500, 5000]))
        text = text.replace(b"\n", b"-").replace(b"\r", b"-")
        line = text + numbers.choice([b"\n", b"\r\n"])
        said.append(line)
        heard.append(b"Echo: " + line)
    return b"".join(said) + b"last", b"".join(heard) + b"Echo: last"


if __name__ == "__main__":
    unittest.main()
