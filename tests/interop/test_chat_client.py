"""chat-client, in pipes and on a terminal."""

import os
import pty
import re
import select
import socket
import subprocess
import threading
import time
import unittest

from chat import ChatTest
from server import BINARIES, PATIENCE, Program, until

FREE = ("--rate", "0")


class Client(Program):
    """`chat-client`, with its standard streams in hand."""

    def __init__(self, test, port, *arguments, **options):
        command = [BINARIES / "chat-client", f"127.0.0.1:{port}", *arguments]
        super().__init__(test, command, stdin=subprocess.PIPE, **options)
        self.heard = []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.heard.append(line.decode().rstrip("\n"))

    def types(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def until_heard(self, line):
        until(lambda: line in self.heard or not self.lives(), f"{line} is heard: {self.heard}")
        self.test.assertIn(line, self.heard, self.errors())

    def ends(self, code):
        self.process.stdin.close()
        self.test.assertEqual(self.wait(), code, self.errors())
        self.reader.join(PATIENCE)


class Pipes(ChatTest):
    def run_chat_client(self, *arguments, **options):
        return self.run_program([BINARIES / "chat-client", *arguments], **options)

    def test_what_is_piped_in_is_said_and_the_answers_come_out(self):
        for server, framing in self.each_world(*FREE):
            (bob,) = self.people(server, ["bob"], framing)
            said = "hello\n/who\nwithout an end".encode()
            code, output, errors = self.run_chat_client(
                f"127.0.0.1:{server.port}", "--name", "alice", "--framing", framing, input=said)
            self.assertEqual((code, errors), (0, ""))
            expected = [
                "* welcome, guest-2; /help lists the commands",
                "* guest-2 is now alice",
                "* in #lobby: alice, bob",
            ]
            self.assertEqual(output.decode().splitlines(), expected, "clean, without colours")
            expected = [
                "* guest-2 joined #lobby",
                "* guest-2 is now alice",
                "alice: hello",
                "alice: without an end",
                "* alice left #lobby",
            ]
            self.assertEqual(bob.hears(5), expected)

    def test_much_is_piped_in(self):
        for server, framing in self.each_world(*FREE):
            (bob,) = self.people(server, ["bob"], framing)
            said = b"".join(b"line %d\n" % number for number in range(50_000))
            thread = threading.Thread(target=self.run_chat_client, args=(
                f"127.0.0.1:{server.port}", "--framing", framing), kwargs={"input": said})
            thread.start()
            self.assertEqual(bob.hear(), "* guest-2 joined #lobby")
            for number in range(50_000):
                self.assertEqual(bob.hear(), f"guest-2: line {number}")
            self.assertEqual(bob.hear(), "* guest-2 left #lobby")
            thread.join()

    def test_what_others_say_is_cleaned(self):
        for server, framing in self.each_world(*FREE, worlds=[("length", "1")]):
            client = Client(self, server.port, "--framing", framing)
            (bob,) = self.people(server, ["bob"], framing)
            bob.say(b"a\x1b[2J\n\xff\xe2\x80\xaeb")
            client.until_heard("bob: a\ufffd[2J\ufffd\ufffd\ufffdb")
            client.ends(0)

    def test_quitting_ends_it_and_being_kicked_is_an_error(self):
        server = self.chat("--console", *FREE, stdin=subprocess.PIPE)
        client = Client(self, server.port, "--name", "alice")
        client.types("/quit")
        self.assertEqual(client.wait(), 0, client.errors())
        self.assertEqual(client.heard[-1], "* bye")
        client = Client(self, server.port, "--name", "alice")
        client.until_heard("* guest-2 is now alice")
        server.process.stdin.write(b"/kick alice\n")
        server.process.stdin.flush()
        self.assertEqual(client.wait(), 1)
        self.assertIn("kicked by server", client.errors())
        server.stop()

    def test_no_server_is_an_error_and_what_it_is(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        code, _, errors = self.run_chat_client(f"127.0.0.1:{port}")
        self.assertEqual((code, errors.count("\n")), (1, 1), errors)
        self.assertIn("refused", errors)
        self.assertEqual(self.run_chat_client()[0], 2)
        self.assertEqual(self.run_chat_client("127.0.0.1:1", "--framing", "x")[0], 2)

    def test_it_comes_back_and_what_was_typed_meanwhile_is_said(self):
        for server, framing in self.each_world(*FREE, worlds=[("line", "1"), ("length", "1")]):
            client = Client(self, server.port, "--name", "alice", "--framing", framing)
            client.until_heard("* guest-1 is now alice")
            client.types("/name ann", "/join #rust")
            client.until_heard("* you are in #rust")
            port = server.port
            server.stop()
            until(lambda: "trying again" in client.errors(), "it says that it tries again")
            client.types(*(f"kept {number}" for number in range(1003)))
            until(lambda: "dropped" in client.errors(), "it says that it drops")
            again = self.chat("--framing", framing, *FREE, listen=(f"127.0.0.1:{port}",))
            client.until_heard("* you are in #rust")
            until(lambda: "3 lines were dropped" in client.errors(), "it says how many")
            self.assertIn("connected again", client.errors())
            late = self.come(again, framing)
            late.say("/join #rust")
            until_line = "* end of history"
            heard = late.hears_until(until_line)
            self.assertEqual(heard[-1], "ann: kept 999", "name and room are as they were")
            client.types("and on")
            self.assertEqual(late.hear(), "ann: and on")
            client.ends(0)
            self.assertEqual(late.hear(), "* ann left #rust")
            self.all_leave()
            again.stop()

    def test_with_nothing_left_to_say_it_does_not_wait_for_a_server(self):
        server = self.chat(*FREE)
        client = Client(self, server.port)
        client.until_heard("* welcome, guest-1; /help lists the commands")
        server.stop()
        until(lambda: "trying again" in client.errors(), "it says that it tries again")
        client.ends(0)

    def test_a_name_that_somebody_has_is_taken_back_when_it_is_free(self):
        server = self.chat(*FREE)
        (holder,) = self.people(server, ["alice"])
        gate = Relay(self, server.port)
        client = Client(self, gate.port)
        client.until_heard("* welcome, guest-2; /help lists the commands")
        holder.say("/name other")
        client.types("/name alice")
        client.until_heard("* guest-2 is now alice")
        # Its connection is cut at its own end alone: the server thinks that it is there still.
        gate.cut_near()
        client.until_heard("! name taken: alice")
        gate.cut_far()
        client.until_heard("* guest-3 is now alice")
        client.ends(0)
        self.all_leave()
        server.stop()


class Relay:
    """Passes bytes on, and cuts connections at one end or the other."""

    def __init__(self, test, to):
        self.to, self.near, self.far, self.kept = to, [], [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        test.addCleanup(self.listener.close)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            self.near.append(near)
            self.far.append(far)
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    def pump(self, one, other):
        try:
            while part := one.recv(65536):
                other.sendall(part)
            if one not in self.kept:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def cut_near(self):
        """The client's end of the first connection; the server's stays."""
        self.kept.append(self.near[0])
        self.near[0].shutdown(socket.SHUT_RDWR)

    def cut_far(self):
        self.far[0].close() if not self.far[0].shutdown(socket.SHUT_RDWR) else None


class Terminal(ChatTest):
    """On a terminal: a line that is being typed is not torn by those that come in."""

    def start(self, server, *arguments, environment=None):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        environment = {**os.environ, "TERM": "xterm", **(environment or {})}
        child = subprocess.Popen(
            [BINARIES / "chat-client", f"127.0.0.1:{server.port}", *arguments],
            stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True)
        os.close(slave)
        self.addCleanup(lambda: (child.poll() is None and child.kill(), child.wait()))
        return child, master

    def read_until(self, master, pattern, seconds=PATIENCE):
        text, deadline = b"", time.monotonic() + seconds
        while not re.search(pattern, text):
            left = deadline - time.monotonic()
            self.assertGreater(left, 0, text)
            if select.select([master], [], [], left)[0]:
                text += os.read(master, 65536)
        return text

    def test_lines_come_in_while_one_is_typed(self):
        server = self.chat(*FREE)
        (bob,) = self.people(server, ["bob"])
        child, master = self.start(server, "--name", "alice")
        self.read_until(master, rb"is now alice")
        bob.hears(2)
        os.write(master, b"half of ")
        self.read_until(master, rb"half of ")
        bob.say("not in between")
        text = self.read_until(master, rb"bob: not in between\x1b?[^\n]*\r?\n[^\n]*half of ")
        self.assertNotIn(b"half of bob", text)
        os.write(master, b"a line\r")
        self.assertEqual(bob.hear(), "alice: half of a line")
        bob.say("/whisper alice psst")
        self.read_until(master, rb"\x1b\[35m\[whisper from bob\] psst\x1b\[0m")
        os.write(master, b"\x04")
        self.assertEqual(child.wait(PATIENCE), 0)
        self.assertEqual(bob.hears(2), ["* whispered to alice", "* alice left #lobby"])
        self.all_leave()
        server.stop()

    def test_no_colours_where_nobody_wants_them(self):
        server = self.chat(*FREE)
        for arguments, environment in ((("--no-color",), {}), ((), {"NO_COLOR": "1"})):
            child, master = self.start(server, *arguments, environment=environment)
            text = self.read_until(master, rb"welcome, [^\n]*\n")
            self.assertNotIn(b"\x1b[36m", text)
            os.write(master, b"/quit\r")
            self.assertEqual(child.wait(PATIENCE), 0)
        server.stop()

    def test_the_terminal_is_as_it_was_when_the_server_ends_it(self):
        import termios

        server = self.chat("--console", *FREE, stdin=subprocess.PIPE)
        child, master = self.start(server, "--name", "alice")
        self.read_until(master, rb"is now alice")
        until(lambda: not termios.tcgetattr(master)[3] & termios.ICANON, "a line is being edited")
        server.process.stdin.write(b"/kick alice\n")
        server.process.stdin.flush()
        self.assertEqual(child.wait(PATIENCE), 1)
        self.assertTrue(termios.tcgetattr(master)[3] & termios.ICANON)
        server.stop()


if __name__ == "__main__":
    unittest.main()
