"""What many, fast, slow or hostile people can do to a chat: nothing that others notice."""

import collections
import selectors
import signal
import struct
import time
import unittest

from chat import ChatTest
from server import PATIENCE, Wire, allow_many_descriptors

MEBIBYTE = 1 << 20
FREE = ("--rate", "0")


class Crowd:
    """Clients that say numbered lines, no faster than the slowest of them listens."""

    WINDOW = 2000  # lines that a speaker may be ahead of its slowest listener
    BATCH = 250

    def __init__(self, test, people, lines):
        self.test, self.people, self.lines = test, people, lines
        self.names = [f"c{number}".encode() for number in range(len(people))]
        self.said = [0] * len(people)
        self.heard = [dict.fromkeys(self.names, 0) for _ in people]
        self.rest = [b""] * len(people)
        self.other = [[] for _ in people]

    def run(self):
        selector = selectors.DefaultSelector()
        for index, person in enumerate(self.people):
            person.stream.setblocking(False)
            selector.register(person.stream, selectors.EVENT_READ, index)
        outgoing = [b""] * len(self.people)
        deadline = time.monotonic() + 4 * PATIENCE
        while not self.is_done():
            if time.monotonic() > deadline:
                self.test.fail(f"heard {[sum(heard.values()) for heard in self.heard]}")
            for index in range(len(self.people)):
                outgoing[index] += self.next_lines(index)
                if outgoing[index]:
                    try:
                        sent = self.people[index].stream.send(outgoing[index])
                        outgoing[index] = outgoing[index][sent:]
                    except BlockingIOError:
                        pass
            for key, _ in selector.select(0.01):
                self.listen(key.data)
        selector.close()

    def is_done(self):
        due = (len(self.people) - 1) * self.lines
        return all(sum(heard.values()) >= due for heard in self.heard)

    def next_lines(self, index):
        said, name = self.said[index], self.names[index]
        slowest = min(heard[name] for other, heard in enumerate(self.heard) if other != index)
        until_line = min(self.lines, said + self.BATCH)
        if said >= self.lines or until_line > slowest + self.WINDOW:
            return b""
        self.said[index] = until_line
        return b"".join(b"%d\n" % number for number in range(said, until_line))

    def listen(self, index):
        try:
            part = self.people[index].stream.recv(1 << 20)
        except BlockingIOError:
            return
        if not part:
            self.test.fail(f"client {index} was closed: {self.rest[index][-200:]!r}")
        lines = (self.rest[index] + part).split(b"\n")
        self.rest[index] = lines.pop()
        heard = self.heard[index]
        for line in lines:
            name, _, number = line.partition(b": ")
            if name in heard:
                if int(number) != heard[name]:
                    self.test.fail(f"client {index} hears {line!r} where {heard[name]} was due")
                heard[name] += 1
            else:
                self.other[index].append(line)


class Load(ChatTest):
    def crowd(self, server, count):
        return self.people(server, [f"c{number}" for number in range(count)])

    def test_twelve_clients_hear_all_that_the_others_say_in_order(self):
        for loops, more in (("1", ()), ("2", ()), ("2", ("--queue-limit", "64KiB")), ("1", ("--tick", "5ms"))):
            with self.subTest(loops=loops, more=more):
                server = self.chat("--loops", loops, *FREE, *more)
                people = self.crowd(server, 12)
                crowd = Crowd(self, people, 10_000 if not more else 2_000)
                crowd.run()
                for index, heard in enumerate(crowd.heard):
                    self.assertEqual(sum(heard.values()), 11 * crowd.lines)
                    self.assertEqual(heard[crowd.names[index]], 0, "one's own are not heard")
                self.assertEqual([line for lines in crowd.other for line in lines], [])
                self.all_leave()
                server.stop()

    def test_speakers_that_do_not_wait_are_all_heard_by_those_who_read(self):
        """Nobody waits for the listeners, who read as fast as they can; their queues have no limit."""
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, "--queue-limit", "0", *FREE)
                people = self.crowd(server, 6)
                for person in people[:3]:
                    lines = b"".join(b"%d\n" % number for number in range(20_000))
                    Wire(person.stream, lines)
                for person in people[3:]:
                    due = collections.Counter()
                    while sum(due.values()) < 60_000:
                        name, _, number = person.hear().partition(": ")
                        self.assertEqual(int(number), due[name])
                        due[name] += 1
                self.all_leave()
                server.stop()

    def test_one_who_does_not_read_is_closed_and_costs_what_the_limits_say(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, *FREE)
                slow = self.come(server, receive_buffer=2048)
                slow.say("/name slow")
                slow.hears_until("* guest-1 is now slow")
                fast, speaker = self.people(server, ["fast", "speaker"])
                before = server.resident()
                text, total, window = "x" * 400, 100_000, 1000
                heard, slow_is_gone, peak = 0, 0, 0
                for first in range(0, total, window):
                    speaker.say(*[f"{number:06} {text}" for number in range(first, first + window)])
                    while heard < first + window:
                        line = fast.hear()
                        if line == "* slow left #lobby (too slow)":
                            slow_is_gone += 1
                            continue
                        self.assertEqual(line[: len("speaker: 000000")], f"speaker: {heard:06}")
                        heard += 1
                    peak = max(peak, server.resident())
                self.assertEqual(slow_is_gone, 1)
                self.assertLessEqual(peak - before, 8 * MEBIBYTE)
                self.all_leave()
                server.stop()

    def test_what_has_no_end_is_closed_and_nobody_notices(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops)
                (witness,) = self.people(server, ["witness"])
                endless = self.come(server)
                endless.hear()
                Wire(endless.stream, b"x" * (10 * MEBIBYTE))
                self.assertEqual(endless.hear(), "! too long")
                many = self.come(server)
                many.stream.sendall(b"\n" * 100_000)
                many.hear()
                many.say("/who")
                self.assertEqual(many.news()[-1], "* in #lobby: guest-3, witness")
                half = self.come(server)
                half.stream.sendall(b"half a line")
                half.leave()
                expected = [
                    "* guest-2 joined #lobby",
                    "* guest-2 left #lobby",
                    "* guest-3 joined #lobby",
                    "* guest-4 joined #lobby",
                    "* guest-4 left #lobby",
                ]
                self.assertEqual(witness.hears(5), expected)
                self.all_leave()
                server.stop()

    def test_a_frame_that_announces_4_gib_is_refused_at_once(self):
        server = self.chat("--framing", "length")
        before = server.resident()
        liar = self.come(server, "length")
        liar.hear()
        liar.stream.sendall(struct.pack(">I", 0xFFFFFFFF) + b"x" * 1000)
        self.assertEqual(liar.hear(), "! too long")
        self.assertLess(server.resident() - before, 2 * MEBIBYTE)
        self.all_leave()
        server.stop()

    def test_everyone_who_reads_hears_all_that_was_said_before_the_server_stops(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, "--queue-limit", "8MiB", *FREE)
                people = self.crowd(server, 6)
                speaker, listeners = people[0], people[1:]
                speaker.say(*[f"{number} {'y' * 100}" for number in range(5000)])
                self.assertEqual(speaker.news(), [], "all of it was said")
                server.signal(signal.SIGTERM)
                for person in listeners:
                    heard = person.hears_all()
                    self.assertEqual(heard[-1], "* server is going down")
                    numbers = [int(line.split()[1]) for line in heard[:-1]]
                    self.assertEqual(numbers, list(range(5000)))
                    person.leave()
                self.assertEqual(speaker.hears_all(), ["* server is going down"])
                self.all_leave()
                _, forced = server.stopped()
                self.assertEqual(forced, 0)

    def test_a_thousand_rooms_each_with_somebody_in_it(self):
        allow_many_descriptors()
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, "--max-rooms", "1000", *FREE)
                people = [self.come(server) for _ in range(1000)]
                for number, person in enumerate(people):
                    person.say(f"/join #{number:04}")
                    heard = person.news()
                    if number < 999:
                        self.assertEqual(heard[-1], f"* you are in #{number:04}")
                    else:
                        self.assertEqual(heard[-1], "! too many rooms")
                people[0].say("/rooms")
                self.assertEqual(len(people[0].news()), 1000)
                self.assertLess(server.resident(), 64 * MEBIBYTE)
                self.all_leave()
                server.stop()

    def test_a_storm_of_logins_stops_nobody(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, *FREE)
                witness, other = self.people(server, ["witness", "other"])
                storm = [self.come(server) for _ in range(40)]
                for person in storm:
                    person.say("/login alice wrong")
                began = time.monotonic()
                witness.say("are you still there?")
                while other.hear() != "witness: are you still there?":
                    pass
                self.assertLess(time.monotonic() - began, 1.0)
                answers = collections.Counter()
                for person in storm:
                    while not (answer := person.hear()).startswith("! "):
                        pass
                    answers[answer] += 1
                self.assertEqual(answers, {"! login failed": 3, "! try later": 37})
                self.all_leave()
                server.stop()

    def test_churn_leaves_nothing_behind(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, *FREE)
                (witness,) = self.people(server, ["witness"])
                for _ in range(20):
                    people = [self.come(server) for _ in range(50)]
                    for number, person in enumerate(people):
                        person.say(f"/join #{number % 7}", "hello", f"/name n{number}", "/quit")
                    for person in people:
                        self.assertEqual(person.hears_all()[-1], "* bye")
                        person.leave()
                    self.present = [witness]
                    witness.news()
                witness.say("/rooms")
                self.assertEqual(witness.news()[-1], "* #lobby 1")
                self.all_leave()
                server.stop()


if __name__ == "__main__":
    unittest.main()
