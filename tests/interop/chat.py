"""People in a chat: they say messages and hear messages, in either framing."""

import socket
import struct
import time

from server import PATIENCE, InteropTest

# Every test of the chat holds in both framings, on one loop and on two.
WORLDS = [(framing, loops) for framing in ("line", "length") for loops in ("1", "2")]


class Person:
    """One client. What it has heard and the test has not asked for yet waits here."""

    def __init__(self, stream, framing="line"):
        self.stream, self.framing = stream, framing
        self.input = bytearray()
        self.start = 0  # what lies before it has been taken

    def wire(self, message):
        content = message.encode() if isinstance(message, str) else message
        return content + b"\n" if self.framing == "line" else struct.pack(">I", len(content)) + content

    def say(self, *messages):
        """All of them in one write."""
        self.stream.sendall(b"".join(self.wire(message) for message in messages))

    def take(self):
        """A message that is there, or None."""
        if self.framing == "line":
            end = self.input.find(b"\n", self.start)
            if end < 0:
                return None
            message = bytes(self.input[self.start : end])
            self.start = end + 1
        else:
            if len(self.input) - self.start < 4:
                return None
            (length,) = struct.unpack_from(">I", self.input, self.start)
            if len(self.input) - self.start < 4 + length:
                return None
            message = bytes(self.input[self.start + 4 : self.start + 4 + length])
            self.start += 4 + length
        if self.start > 1 << 16:
            del self.input[: self.start]
            self.start = 0
        return message

    def read(self):
        """More bytes; False at the end."""
        part = self.stream.recv(262144)
        self.input += part
        return bool(part)

    def hear_bytes(self):
        """The next message; None at the end."""
        while True:
            message = self.take()
            if message is not None:
                return message
            if not self.read():
                if len(self.input) > self.start:
                    raise AssertionError(f"half a message: {bytes(self.input[self.start:])!r}")
                return None

    def hear(self):
        message = self.hear_bytes()
        return None if message is None else message.decode()

    def hears(self, count):
        return [self.hear() for _ in range(count)]

    def hears_until(self, message):
        """All that it hears before this message."""
        heard = []
        while True:
            one = self.hear()
            if one == message:
                return heard
            if one is None:
                raise AssertionError(f"the end, before {message!r}: {heard}")
            heard.append(one)

    def hears_all(self):
        """Until the end."""
        heard = []
        while True:
            one = self.hear()
            if one is None:
                return heard
            heard.append(one)

    def news(self):
        """All that it was told until now: an answer comes behind it."""
        self.say("/unheard-of")
        return self.hears_until("! unknown command: /unheard-of")

    def leave(self):
        self.stream.close()


class ChatTest(InteropTest):
    def chat(self, *arguments, **options):
        return self.serve(*arguments, program="chat-server", **options)

    def come(self, server, framing="line", **options):
        person = Person(self.connect(server, **options), framing)
        self.present = getattr(self, "present", [])
        self.present.append(person)
        return person

    def all_leave(self):
        """So that a server that stops need not wait for their FINs."""
        for person in getattr(self, "present", []):
            person.leave()
        self.present = []

    def people(self, server, names, framing="line"):
        """People of these names, who have heard all that there was."""
        people = []
        for name in names:
            person = self.come(server, framing)
            person.say(f"/name {name}")
            while not person.hear().endswith(f" is now {name}"):
                pass
            people.append(person)
        # The last one's name is what each of the others hears last.
        for person in people:
            person.news()
        return people

    def until_news(self, person, expected, seconds=PATIENCE):
        """What it hears from now on begins with this, though that may take a while."""
        deadline, heard = time.monotonic() + seconds, []
        while len(heard) < len(expected) and time.monotonic() < deadline:
            heard += person.news()
        self.assertEqual(heard, expected)

    def each_world(self, *arguments, worlds=None):
        """A server in each world, with the framing that its people speak."""
        for framing, loops in worlds or WORLDS:
            server = self.chat("--framing", framing, "--loops", loops, *arguments)
            yield server, framing
            self.all_leave()
            if server.lives():
                server.stop()


def reset_on_close(stream):
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
