"""What the tests share: programs that are started, watched and stopped, and words for what they do.

Nothing here sleeps in order to wait: `until` polls a condition, within a bound that no machine needs.
"""

import os
import pathlib
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARIES = ROOT / TARGET / "release"

# Seconds after which whatever has not happened never will; generous, for machines with other work.
PATIENCE = 60.0

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def until(condition, what, seconds=PATIENCE):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.01)


def allow_many_descriptors():
    """A thousand sockets are more than the usual soft limit of 1,024 lets a test have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Program:
    """A child process: its standard error goes to a file, and it does not outlive its test."""

    def __init__(self, test, command, environment=None, **options):
        self.test = test
        self.directory = tempfile.mkdtemp(prefix="interop-")
        test.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self.errors_path = os.path.join(self.directory, "stderr")
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        with open(self.errors_path, "wb") as errors:
            options.setdefault("stderr", errors)
            self.process = subprocess.Popen(
                [str(part) for part in command],
                env={**clean_environment(), **(environment or {})},
                **options,
            )
        self.pid = self.process.pid
        test.addCleanup(self.end)

    def end(self):
        """By its own pid, whatever state it is in."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass

    def errors(self):
        with open(self.errors_path, encoding="utf-8", errors="replace") as errors:
            return errors.read()

    def lives(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE):
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still there after {seconds} s; stderr:\n{self.errors()}")

    def ticks(self):
        """The CPU time that it has used, in clock ticks."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def state(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def resident(self):
        """Bytes of memory."""
        return 1024 * int(self.status(self.pid, "VmRSS").split()[0])

    def switches(self):
        """How often any of its threads went to sleep of its own accord."""
        threads = os.listdir(f"/proc/{self.pid}/task")
        return sum(int(self.status(thread, "voluntary_ctxt_switches")) for thread in threads)

    def status(self, thread, field):
        with open(f"/proc/{self.pid}/task/{thread}/status", encoding="utf-8") as status:
            return re.search(rf"^{field}:\s*(.*)$", status.read(), re.MULTILINE).group(1)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def until_quiet(self, seconds=0.5):
        """Waits until none of its threads has woken for so long."""
        seen = [self.switches(), time.monotonic()]

        def quiet():
            switches, now = self.switches(), time.monotonic()
            if switches != seen[0]:
                seen[:] = [switches, now]
            return now - seen[1] >= seconds

        until(quiet, "the program comes to rest")


class Server(Program):
    """`echo-server`, or another one, ready."""

    def __init__(
        self,
        test,
        *arguments,
        listen=("127.0.0.1:0",),
        wrapper=(),
        ready=None,
        program="echo-server",
        **options,
    ):
        command = [*wrapper, BINARIES / program]
        for address in listen:
            command += ["--listen", address]
        super().__init__(test, [*command, *arguments], **options)
        self.ready = self.ready_lines(len(listen) if ready is None else ready)
        self.addresses = [line.partition("listening on ")[2] for line in self.ready]
        for line in self.ready:
            test.assertRegex(line, r"^listening on (tcp|tls|unix|udp|http)://\S+$")

    def ready_lines(self, count):
        deadline = time.monotonic() + PATIENCE
        text = b""
        while text.count(b"\n") < count:
            left = max(0.0, deadline - time.monotonic())
            readable, _, _ = select.select([self.process.stdout], [], [], left)
            more = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not more:
                raise AssertionError(f"not ready: {text!r}; stderr:\n{self.errors()}")
            text += more
        lines = text.decode().splitlines()
        self.test.assertEqual(len(lines), count, "nothing else is printed on stdout")
        return lines

    def host_and_port(self, index=0):
        """Of a listener that has an IP address."""
        host, _, port = self.addresses[index].partition("://")[2].rstrip("/").rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def port(self):
        return self.host_and_port()[1]

    def stop(self, number=signal.SIGTERM):
        """Asks it to stop. What its last line on standard error said: how many drained, how many forced."""
        self.signal(number)
        return self.stopped()

    def stopped(self, seconds=PATIENCE):
        code = self.wait(seconds)
        errors = self.errors()
        self.test.assertEqual(code, 0, errors)
        last = errors.splitlines()[-1] if errors else ""
        report = re.search(r"(\d+) drained\D+(\d+) forced", last)
        self.test.assertTrue(report, f"the last line tells how it stopped: {errors!r}")
        return int(report.group(1)), int(report.group(2))


def clean_environment():
    """Ours, without what would change what programs log."""
    return {name: value for name, value in os.environ.items() if name not in ("RUST_LOG", "NO_COLOR")}


class Wire(threading.Thread):
    """Writes into a socket from a thread, and knows how far it has come."""

    def __init__(self, stream, content, finish=False):
        super().__init__(daemon=True)
        self.stream, self.content, self.finish = stream, memoryview(content), finish
        self.written = 0
        self.error = None
        self.start()

    def run(self):
        try:
            while self.written < len(self.content):
                self.written += self.stream.send(self.content[self.written : self.written + 65536])
            if self.finish:
                self.stream.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.error = error

    def done(self):
        self.join(PATIENCE)
        if self.error:
            raise AssertionError(f"after {self.written} bytes: {self.error}")
        return not self.is_alive()


def receive(stream, count):
    """So many bytes, or what there was before the end."""
    parts = []
    while count > 0:
        part = stream.recv(min(count, 262144))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive_all(stream):
    return receive(stream, 1 << 62)


class InteropTest(unittest.TestCase):
    """A test that starts programs and opens sockets, and leaves none behind."""

    maxDiff = 2000

    def serve(self, *arguments, **options):
        return Server(self, *arguments, **options)

    def connect(self, server, receive_buffer=None, index=0, source=None):
        host, port = server.host_and_port(index)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        stream = socket.socket(family, socket.SOCK_STREAM)
        self.addCleanup(stream.close)
        stream.settimeout(PATIENCE)
        if receive_buffer:
            # Before the connection stands: the window that it advertises follows from it.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            stream.bind((source, 0))
        stream.connect((host, port))
        return stream

    def run_program(self, command, input=b"", seconds=PATIENCE, environment=None, **options):
        """A program that ends by itself: its exit code, standard output and standard error."""
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean_environment(), **(environment or {})},
            **options,
        )
        try:
            output, errors = child.communicate(input, timeout=seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            output, errors = child.communicate()
            self.fail(f"{command} did not end; it printed {output[:500]!r} and {errors[-2000:]!r}")
        return child.returncode, output, errors.decode(errors="replace")

    def run_client(self, *arguments, **options):
        return self.run_program([BINARIES / "echo-client", *arguments], **options)

    def need(self, program):
        if not shutil.which(program):
            self.skipTest(f"{program} is not installed")

    def temporary_directory(self):
        directory = tempfile.mkdtemp(prefix="interop-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        return directory

    def assert_same_bytes(self, got, expected, what=""):
        """Equal, without a page of bytes if they are not."""
        if got == expected:
            return
        common = os.path.commonprefix([got, expected])
        self.fail(
            f"{what}: {len(got)} bytes where {len(expected)} were expected; "
            f"the first difference is at {len(common)}"
        )
