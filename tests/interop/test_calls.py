"""How many system calls an echo costs, counted by strace."""

import os
import select
import subprocess
import unittest

from server import InteropTest, receive, until

CONNECTIONS = 64
ROUNDS = 150
SLACK = 1.02


class Calls(InteropTest):
    def setUp(self):
        self.need("strace")
        probe = subprocess.run(
            ["strace", "-D", "-f", "-c", "-o", os.devnull, "true"], stderr=subprocess.PIPE, timeout=60
        )
        if probe.returncode != 0 or b"ptrace" in probe.stderr.lower():
            self.skipTest("strace may not trace here")

    def traced(self, *arguments):
        """A server whose calls are counted; -D lets it be our own child, whose pid we know."""
        self.table = os.path.join(self.temporary_directory(), "calls")
        return self.serve(*arguments, wrapper=("strace", "-D", "-f", "-c", "-o", self.table))

    def counted(self):
        """Calls by name, once the server has ended and strace has written its table."""

        def table():
            try:
                with open(self.table, encoding="ascii") as table:
                    text = table.read()
            except FileNotFoundError:
                return None
            return text if "total" in text else None

        counts = {}
        for line in until(table, "strace tells what it counted").splitlines():
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit():
                counts[fields[-1]] = int(fields[3])
        return counts

    def ping_pong(self, server, streams):
        """Every client sends a message as soon as it has its last one back."""
        message = b"m" * 64
        left = {stream: ROUNDS for stream in streams}
        for stream in streams:
            stream.sendall(message)
        while left:
            ready, _, _ = select.select(list(left), [], [], 60)
            self.assertTrue(ready, "an answer comes")
            for stream in ready:
                self.assertEqual(receive(stream, 64), message)
                left[stream] -= 1
                if left[stream] == 0:
                    del left[stream]
                else:
                    stream.sendall(message)

    def test_one_read_and_one_write_for_each_message(self):
        server = self.traced()
        streams = [self.connect(server) for _ in range(CONNECTIONS)]
        self.ping_pong(server, streams)
        for stream in streams:
            stream.close()
        server.stop()
        calls, messages = self.counted(), CONNECTIONS * ROUNDS
        received = sum(calls.get(name, 0) for name in ("recvfrom", "recvmsg", "readv"))
        sent = sum(calls.get(name, 0) for name in ("sendto", "sendmsg", "writev"))
        waits = sum(calls.get(name, 0) for name in ("epoll_wait", "epoll_pwait", "epoll_pwait2"))
        self.assertGreaterEqual(received, messages)
        self.assertLessEqual(received, messages * SLACK, calls)
        self.assertGreaterEqual(sent, messages)
        self.assertLessEqual(sent, messages * SLACK, calls)
        self.assertLessEqual(waits, messages * SLACK, calls)
        self.assertLessEqual(calls["epoll_ctl"], 2 * CONNECTIONS + 16, "registered once each")

    def test_a_connection_is_accepted_registered_and_closed_with_few_calls(self):
        server = self.traced()
        visits = 200
        for _ in range(visits):
            stream = self.connect(server)
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
            stream.close()
        server.stop()
        calls = self.counted()
        self.assertLessEqual(calls["accept4"], 2 * visits + 16, calls)
        self.assertLessEqual(calls["epoll_ctl"], 2 * visits + 16, calls)
        self.assertLessEqual(sum(calls.values()), 20 * visits + 1000, calls)


if __name__ == "__main__":
    unittest.main()
