"""Clients that come, speak and go in every way there is: nobody hears another, and nothing stays."""

import os
import random
import socket
import struct
import threading
import time
import unittest

from server import PATIENCE, InteropTest, until

SECONDS = float(os.environ.get("INTEROP_SECONDS", "20"))
SEED = int(os.environ.get("INTEROP_SEED", "1"))
THREADS = 24
GROWTH_MAX = 4 << 20


class Guest(threading.Thread):
    """One client after another, each with bytes of its own, until time is up."""

    def __init__(self, address, number, until):
        super().__init__(daemon=True)
        self.address, self.number, self.until = address, number, until
        self.random = random.Random(SEED * 1000 + number)
        self.visits, self.complaint = 0, None
        self.start()

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.visit()
                self.visits += 1
        except Exception as error:  # it is told by the test, which would not see it otherwise
            self.complaint = f"guest {self.number}, visit {self.visits}: {error!r}"

    def visit(self):
        tag = b"<%d:%d>" % (self.number, self.visits)
        content = tag * self.random.randint(1, 400)
        way = self.random.choice(["finish", "close", "reset", "reset early", "vanish"])
        with socket.socket() as stream:
            stream.settimeout(PATIENCE)
            # An address for each thread: one alone runs out of ports that are not in TIME-WAIT.
            stream.bind((f"127.0.1.{self.number + 1}", 0))
            stream.connect(self.address)
            stream.sendall(content)
            if way == "finish":
                stream.shutdown(socket.SHUT_WR)
            echo = b""
            wanted = {
                "finish": len(content) + 1,
                "close": len(content),
                "reset": self.random.randint(1, len(content)),
                "reset early": 0,
                "vanish": self.random.randint(0, 1),
            }[way]
            while len(echo) < wanted:
                part = stream.recv(wanted - len(echo))
                if not part:
                    break
                echo += part
            if echo != content[: len(echo)] or len(echo) < min(wanted, len(content)):
                raise AssertionError(f"{way}: {len(content)} bytes were sent, {echo[:80]!r} came back")
            if way.startswith("reset"):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Churn(InteropTest):
    def churn(self, server, seconds):
        address = server.host_and_port()
        end = time.monotonic() + seconds
        guests = [Guest(address, number, end) for number in range(THREADS)]
        for guest in guests:
            guest.join(seconds + PATIENCE)
            self.assertFalse(guest.is_alive())
        self.assertEqual([guest.complaint for guest in guests if guest.complaint], [])
        return sum(guest.visits for guest in guests)

    def stays_clean(self, *arguments):
        server = self.serve(*arguments)
        descriptors = server.descriptors()
        self.churn(server, SECONDS / 4)
        until(lambda: server.descriptors() == descriptors, "all descriptors are closed")
        resident = server.resident()
        visits = self.churn(server, SECONDS * 3 / 4)
        self.assertGreater(visits, THREADS)
        until(lambda: server.descriptors() == descriptors, "all descriptors are closed")
        self.assertLessEqual(server.resident() - resident, GROWTH_MAX, f"after {visits} visits")
        self.assertEqual(server.stop(), (0, 0), "nobody was left to drain")

    def test_nobody_hears_another_and_nothing_stays(self):
        self.stays_clean()

    def test_nor_with_several_loops(self):
        self.stays_clean("--loops", "2")


if __name__ == "__main__":
    unittest.main()
