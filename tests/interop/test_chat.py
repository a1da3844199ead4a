"""The chat's contract, row by row, from outside: in both framings, on one loop and on two."""

import os
import signal
import socket
import stat
import time
import unittest

from chat import ChatTest, Person, reset_on_close
from server import BINARIES

FREE = ("--rate", "0")


class Rows(ChatTest):
    def test_who_connects_is_welcome_and_the_others_hear_of_it(self):
        for server, framing in self.each_world():
            first = self.come(server, framing)
            self.assertEqual(first.hear(), "* welcome, guest-1; /help lists the commands")
            second = self.come(server, framing)
            self.assertEqual(second.hear(), "* welcome, guest-2; /help lists the commands")
            self.assertEqual(first.hear(), "* guest-2 joined #lobby")
            self.assertEqual(second.news(), [])

    def test_text_and_history(self):
        for server, framing in self.each_world("--history", "3", *FREE):
            alice, bob = self.people(server, ["alice", "bob"], framing)
            alice.say("one", "", "two")
            self.assertEqual(bob.hears(2), ["alice: one", "alice: two"])
            late = self.come(server, framing)
            expected = ["* last 2 messages in #lobby", "alice: one", "alice: two", "* end of history"]
            self.assertEqual(late.hears(5)[1:], expected)
            self.assertEqual(alice.hear(), "* guest-3 joined #lobby", "one's own is not heard")
            bob.say("three", "four", "/who")
            bob.news()
            later = self.come(server, framing)
            expected = ["* last 3 messages in #lobby", "alice: two", "bob: three", "bob: four", "* end of history"]
            self.assertEqual(later.hears(6)[1:], expected)

    def test_names(self):
        for server, framing in self.each_world(*FREE):
            alice, bob = self.people(server, ["alice", "bob"], framing)
            alice.say("/name ann")
            self.assertEqual(alice.hear(), "* alice is now ann")
            self.assertEqual(bob.hear(), "* alice is now ann")
            for taken in ("bob", "server", "guest-2", "guest-77"):
                alice.say(f"/name {taken}")
                self.assertEqual(alice.hear(), f"! name taken: {taken}")
            for bad in ("a b", "x" * 33, "a\u202eb", "a\x1bb", "a\u00a0b"):
                alice.say(f"/name {bad}")
                self.assertEqual(alice.hear(), "! bad name")
            alice.say("/name " + "漢" * 32, "/name guest-1")
            self.assertEqual(alice.hears(2)[1], "* " + "漢" * 32 + " is now guest-1")

    def test_questions(self):
        for server, framing in self.each_world(*FREE):
            bob, alice = self.people(server, ["bob", "alice"], framing)
            bob.say("/who", "/list", "/rooms")
            self.assertEqual(bob.hears(3), ["* in #lobby: alice, bob"] * 2 + ["* #lobby 2"])
            alice.say("/join #a")
            self.assertEqual(alice.hear(), "* you are in #a")
            bob.say("/rooms", "/who")
            self.assertEqual(bob.hears(4), ["* alice left #lobby", "* #a 1", "* #lobby 1", "* in #lobby: bob"])
            bob.say("/help")
            help_lines = bob.news()
            self.assertTrue(help_lines and all(line.startswith("* ") for line in help_lines))

    def test_whispers(self):
        for server, framing in self.each_world(*FREE):
            alice, bob, carol = self.people(server, ["alice", "bob", "carol"], framing)
            alice.say("/whisper bob are you there?", "/whisper nobody x", "/whisper bob")
            expected = ["* whispered to bob", "! no such user: nobody", "! usage: /whisper NAME TEXT"]
            self.assertEqual(alice.hears(3), expected)
            self.assertEqual(bob.hear(), "[whisper from alice] are you there?")
            self.assertEqual(carol.news(), [])

    def test_rooms(self):
        for server, framing in self.each_world("--room-limit", "2", "--max-rooms", "2", *FREE):
            alice, bob, carol, dave = self.people(server, ["alice", "bob", "carol", "dave"], framing)
            alice.say("/join #a", "hello")
            self.assertEqual(alice.hear(), "* you are in #a")
            self.assertEqual(bob.hear(), "* alice left #lobby")
            bob.say("/join #a")
            expected = ["* you are in #a", "* last 1 messages in #a", "alice: hello", "* end of history"]
            self.assertEqual(bob.hears(4), expected)
            self.assertEqual(alice.hear(), "* bob joined #a")
            carol.say("/join #a", "/join #b", "/join b", "/join #lobby", "/leave")
            expected = [
                "* alice left #lobby",
                "* bob left #lobby",
                "! #a is full",
                "! too many rooms",
                "! bad room name",
                "* you are in #lobby",
                "* you are in #lobby",
            ]
            self.assertEqual(carol.hears(7), expected)
            bob.say("/leave")
            self.assertEqual(bob.hear(), "* you are in #lobby")
            self.assertEqual(alice.hear(), "* bob left #a")
            self.assertEqual(carol.hear(), "* bob joined #lobby")
            alice.say("/leave")
            alice.news()
            dave.say("/join #a")
            self.assertEqual(dave.news()[-1], "* you are in #a", "its history is gone with it")

    def test_quitting_vanishing_and_finishing(self):
        for server, framing in self.each_world(*FREE):
            alice, bob, carol, dave = self.people(server, ["alice", "bob", "carol", "dave"], framing)
            alice.say("bye all", "/name ann", "/quit", "not heard")
            self.assertEqual(alice.hears_all(), ["* alice is now ann", "* bye"])
            expected = ["alice: bye all", "* alice is now ann", "* ann left #lobby"]
            self.assertEqual(dave.hears(3), expected)
            reset_on_close(bob.stream)
            bob.leave()
            self.assertEqual(dave.hear(), "* bob left #lobby")
            carol.news()
            carol.stream.sendall(carol.wire("half a line, then gone")[:9])
            carol.stream.shutdown(socket.SHUT_WR)
            self.assertEqual(carol.hears_all(), [])
            self.assertEqual(dave.hear(), "* carol left #lobby")

    def test_errors(self):
        for server, framing in self.each_world(*FREE):
            (alice,) = self.people(server, ["alice"], framing)
            for said, heard in (
                ("/name", "! usage: /name NEW"),
                ("/join", "! usage: /join #room"),
                ("/login alice", "! usage: /login USER PASSWORD"),
                ("/kick", "! usage: /kick NAME"),
                ("/kick alice", "! not an operator"),
                ("/anything-else", "! unknown command: /anything-else"),
            ):
                alice.say(said)
                self.assertEqual(alice.hear(), heard)

    def test_too_long(self):
        for server, framing in self.each_world("--max-frame", "1024"):
            alice, bob = self.people(server, ["alice", "bob"], framing)
            alice.say("x" * 1024)
            self.assertEqual(bob.hear(), "alice: " + "x" * 1024)
            alice.say("x" * 1025)
            self.assertEqual(alice.hears_all(), ["! too long"])
            self.assertEqual(bob.hear(), "* alice left #lobby")

    def test_flood_control(self):
        for server, framing in self.each_world():
            alice = self.come(server, framing)
            alice.hear()
            bob = self.come(server, framing)
            bob.hear()
            alice.hear()
            alice.say(*(str(number) for number in range(100)))
            self.assertEqual(alice.hear(), "! slow down")
            heard = bob.hears(20)
            self.assertEqual(heard, [f"guest-1: {number}" for number in range(20)])
            self.assertTrue(server.lives())

    def test_idle(self):
        for server, framing in self.each_world("--idle-timeout", "500ms"):
            idle = self.come(server, framing)
            idle.hear()
            busy = self.come(server, framing)
            heard = []
            while not heard or heard[-1] != "* guest-1 left #lobby (idle)":
                # Its own words keep it alive; nobody hears them.
                busy.say("/who")
                time.sleep(0.05)
                heard += [line for line in busy.news() if not line.startswith("! slow")]
                if len(heard) > 1000:
                    self.fail(f"{heard[:5]}")
            idle.hears_all()

    def test_what_people_say_cannot_hurt(self):
        said = b"a\x1b[2J\x07\x9b\xff \xc2\x9b\xe2\x80\xae."
        cleaned = "a\ufffd[2J\ufffd\ufffd\ufffd \ufffd\ufffd.".encode()
        for server, framing in self.each_world(*FREE):
            alice, bob = self.people(server, ["alice", "bob"], framing)
            alice.say(said)
            expected = cleaned if framing == "line" else said
            self.assertEqual(bob.hear_bytes(), b"alice: " + expected)
            alice.say(b"/whisper \x1b\xff x")
            self.assertEqual(alice.hear(), "! no such user: \ufffd\ufffd")

    def test_frames_carry_bytes(self):
        for server, framing in self.each_world(*FREE, worlds=[("length", "1"), ("length", "2")]):
            alice, bob = self.people(server, ["alice", "bob"], framing)
            for payload in (bytes(range(256)), b"\n\n", b"x" * 65536, b" /who"):
                alice.say(payload)
                self.assertEqual(bob.hear_bytes(), b"alice: " + payload)

    def test_nc_is_a_client(self):
        self.need("nc")
        for server, _ in self.each_world(*FREE, worlds=[("line", "1"), ("line", "2")]):
            said = b"/name nina\nhello\n/who\n/quit\n"
            code, output, errors = self.run_program(["nc", "127.0.0.1", server.port], said)
            expected = [
                "* welcome, guest-1; /help lists the commands",
                "* guest-1 is now nina",
                "* in #lobby: nina",
                "* bye",
            ]
            self.assertEqual((code, output.decode().splitlines()), (0, expected), errors)

    def test_nc_that_finishes_is_answered_first(self):
        self.need("nc")
        for server, _ in self.each_world(*FREE, worlds=[("line", "1"), ("line", "2")]):
            code, output, errors = self.run_program(["nc", "-N", "127.0.0.1", server.port], b"/who\n")
            self.assertEqual((code, output.decode().splitlines()[1:]), (0, ["* in #lobby: guest-1"]), errors)


class Accounts(ChatTest):
    def setUp(self):
        self.path = os.path.join(self.temporary_directory(), "accounts")
        self.set_password("alice", b"pass word\n", "--operator")
        self.set_password("bob", b"secret")

    def set_password(self, user, password, *options, code=0):
        command = [BINARIES / "chat-server", "passwd", "--accounts", self.path, user, *options]
        got, output, errors = self.run_program(command, password)
        self.assertEqual((got, output), (code, b""), errors)
        return errors

    def test_the_file_is_private_and_holds_no_password(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        with open(self.path, encoding="utf-8") as file:
            text = file.read()
        self.assertEqual(text.count("$argon2id$"), 2)
        self.assertNotIn("secret", text)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["accounts"], "nothing lies beside it")

    def test_what_cannot_be_an_account_is_told(self):
        for user in ("two words", "server", "guest-3", "a\u202eb", ""):
            self.assertIn("error: ", self.set_password(user, b"x\n", code=2))
        self.assertIn("error: ", self.set_password("carol", b"\n", code=1))
        code, _, errors = self.run_program([BINARIES / "chat-server", "passwd", "carol"], b"x\n")
        self.assertEqual(code, 2, errors)
        missing = os.path.join(self.temporary_directory(), "none", "accounts")
        command = [BINARIES / "chat-server", "passwd", "--accounts", missing, "carol"]
        code, _, errors = self.run_program(command, b"x\n")
        self.assertEqual((code, errors.count("\n")), (1, 1), errors)

    def test_login(self):
        for server, framing in self.each_world("--accounts", self.path, *FREE):
            one, other = self.people(server, ["one", "other"], framing)
            other.say("/name bob")
            self.assertEqual(other.hear(), "! name taken: bob")
            one.say("/login alice wrong", "/login nobody x", "/login alice pass word", "hi")
            expected = ["! login failed"] * 2 + ["* logged in as alice", "* one is now alice"]
            self.assertEqual(one.hears(4), expected)
            self.assertEqual(other.hears(2), ["* one is now alice", "alice: hi"])

    def test_failures_are_counted(self):
        for server, framing in self.each_world("--accounts", self.path, *FREE):
            (one,) = self.people(server, ["one"], framing)
            one.say(*["/login alice wrong"] * 3, "/login alice pass word")
            self.assertEqual(one.hears(4), ["! login failed"] * 3 + ["! try later"])
            far = self.come(server, framing, source="127.0.0.9")
            far.say("/login alice pass word", "/login bob secret")
            expected = ["! try later", "* logged in as bob", "* guest-2 is now bob"]
            self.assertEqual(far.hears(4)[1:], expected)

    def test_the_second_login_closes_the_first(self):
        for server, framing in self.each_world("--accounts", self.path, *FREE):
            first, second = self.people(server, ["first", "second"], framing)
            first.say("/login bob secret")
            self.assertEqual(first.hears(2)[0], "* logged in as bob")
            second.say("/login bob secret")
            self.assertEqual(first.hears_all(), ["! logged in elsewhere"])
            heard = second.hears_until("* second is now bob")
            self.assertEqual(heard, ["* first is now bob", "* bob left #lobby", "* logged in as bob"])

    def test_an_account_that_is_made_meanwhile_gets_its_name(self):
        for number, (server, framing) in enumerate(self.each_world("--accounts", self.path, *FREE)):
            name = f"new-{number}"
            squatter, owner = self.people(server, [name, "owner"], framing)
            self.set_password(name, b"x\n")
            owner.say(f"/login {name} x")
            heard = owner.hears_until(f"* owner is now {name}")
            self.assertEqual(heard, [f"* {name} is now guest-1", f"* logged in as {name}"])
            self.assertEqual(squatter.hears(2)[0], f"* {name} is now guest-1")

    def test_operators(self):
        for server, framing in self.each_world("--accounts", self.path, *FREE):
            operator, one, two = self.people(server, ["operator", "one", "two"], framing)
            operator.say("/login alice pass word")
            self.assertEqual(operator.hears(2)[0], "* logged in as alice")
            one.say("/kick two")
            self.assertEqual(one.news(), ["* operator is now alice", "! not an operator"])
            operator.say("/kick nobody", "/kick one")
            self.assertEqual(operator.hears(2), ["! no such user: nobody", "* one was kicked by alice"])
            self.assertEqual(one.hears_all(), ["! kicked by alice"])
            operator.say("/kick alice")
            self.assertEqual(operator.hears_all(), ["! kicked by alice"])
            expected = ["* operator is now alice", "* one was kicked by alice", "* alice was kicked by alice"]
            self.assertEqual(two.hears(3), expected)

    def test_required(self):
        for server, framing in self.each_world("--accounts", self.path, "--require-login", *FREE):
            alice = self.come(server, framing)
            self.assertEqual(alice.hear(), "* welcome, guest-1; /help lists the commands")
            outside = self.come(server, framing)
            alice.say("/login alice pass word", "secret", "/whisper guest-2 psst")
            self.assertEqual(alice.hears(2), ["* logged in as alice", "! no such user: guest-2"])
            outside.say("hello", "/who", "/join #a", "/name x", "/nothing")
            self.assertEqual(outside.hears(6)[1:], ["! log in first"] * 5)
            outside.say("/login bob secret")
            expected = ["* logged in as bob", "* last 1 messages in #lobby", "alice: secret", "* end of history"]
            self.assertEqual(outside.hears(4), expected)
            self.assertEqual(alice.hear(), "* bob joined #lobby")
            third = self.come(server, framing)
            third.say("/quit")
            self.assertEqual(third.hears_all()[1:], ["* bye"])

    def test_a_file_that_cannot_be_read_is_told_at_once(self):
        for path, text in (("/nonexistent/accounts", "no such file"), ("/dev/null/x", "not a directory")):
            command = [BINARIES / "chat-server", "--listen", "127.0.0.1:0", "--accounts", path]
            code, _, errors = self.run_program(command)
            self.assertEqual((code, errors.count("\n")), (1, 1), errors)
            self.assertIn(path, errors)
            self.assertIn(text, errors)
        code, _, errors = self.run_program([BINARIES / "chat-server", "--require-login"])
        self.assertEqual(code, 2, errors)


class Console(ChatTest):
    def test_the_console_takes_part_as_the_operator(self):
        for framing in ("line", "length"):
            for loops in ("1", "2"):
                with self.subTest(framing=framing, loops=loops):
                    self.take_part("--framing", framing, "--loops", loops)

    def take_part(self, *arguments):
        import subprocess

        framing = arguments[1]
        server = self.chat("--console", *arguments, stdin=subprocess.PIPE)
        alice, bob = self.people(server, ["alice", "bob"], framing)
        typed, shown = server.process.stdin, server.process.stdout

        def type_line(text):
            typed.write(text.encode() + b"\n")
            typed.flush()

        type_line("welcome to the lecture")
        self.assertEqual(alice.hear(), "server: welcome to the lecture")
        alice.say("thank\x1b you", "/who")
        self.assertEqual(alice.hear(), "* in #lobby: alice, bob, server")
        type_line("/kick bob")
        self.assertEqual(bob.hears_until("! kicked by server"), ["server: welcome to the lecture"] + (
            ["alice: thank\ufffd you"] if framing == "line" else ["alice: thank\x1b you"]))
        type_line("/who")
        lines = []
        while not lines or lines[-1] != "* in #lobby: alice, server":
            lines.append(shown.readline().decode().rstrip("\n"))
        self.assertIn("alice: thank\ufffd you", lines)
        self.assertIn("* bob was kicked by server", lines)
        self.assertNotIn("server: welcome to the lecture", lines)
        typed.close()
        self.assertEqual(alice.hears(2), ["* bob was kicked by server", "* server left #lobby"])
        alice.say("/name server")
        self.assertEqual(alice.hear(), "! name taken: server")
        server.stop()


class Everywhere(ChatTest):
    def test_all_listeners_lead_to_the_same_chat(self):
        path = os.path.join(self.temporary_directory(), "chat.sock")
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                listen = ("127.0.0.1:0", "[::1]:0", f"unix:{path}")
                server = self.chat("--loops", loops, *FREE, listen=listen)
                four = self.come(server)
                four.news()
                six = self.come(server, index=1)
                six.news()
                stream = socket.socket(socket.AF_UNIX)
                self.addCleanup(stream.close)
                stream.connect(path)
                local = Person(stream)
                local.news()
                local.say("from afar")
                for person in (four, six):
                    heard = person.hears_until("guest-3: from afar")
                    self.assertEqual(heard[-1], "* guest-3 joined #lobby")
                self.all_leave()
                stream.close()
                server.stop()

    def test_a_second_signal_ends_it_at_once(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, "--grace", "1h", "--queue-limit", "0", *FREE)
                (speaker,) = self.people(server, ["speaker"])
                deaf = [self.come(server, receive_buffer=4096) for _ in range(4)]
                speaker.say(*["x" * 1000] * 20_000)
                speaker.news()
                server.signal(signal.SIGTERM)
                speaker.hears_until("* server is going down")
                self.assertTrue(server.lives())
                server.signal(signal.SIGTERM)
                _, forced = server.stopped()
                self.assertGreaterEqual(forced, 4)
                del deaf
                self.all_leave()

    def test_wrong_values_are_refused(self):
        for arguments in (("--framing", "x"), ("--rate", "-1"), ("--tick", "5"), ("--history", "x"),
                          ("--max-line", "1KB"), ("--room-limit", "-1"), ("--listen", "udp:127.0.0.1:0")):
            code, _, errors = self.run_program([BINARIES / "chat-server", *arguments])
            self.assertEqual(code, 2, errors)
            self.assertIn(arguments[0], errors)


class Numbers(ChatTest):
    def test_the_metrics_page_has_them(self):
        self.need("curl")
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server = self.chat("--loops", loops, "--metrics", "127.0.0.1:0", *FREE, ready=2)
                alice, bob, carol = self.people(server, ["alice", "bob", "carol"])
                alice.say("/join #a")
                alice.news()
                bob.say("one", "two", "/who")
                bob.news()
                page = self.run_program(["curl", "-sS", server.addresses[-1].rstrip("/") + "/metrics"])[1].decode()
                for line in (
                    "chat_people 3",
                    "chat_rooms 2",
                    "chat_messages_total 2",
                    "chat_deliveries_total 2",
                    "chat_dropped_slow_total 0",
                ):
                    self.assertIn(line, page.splitlines())
                carol.leave()
                server.stop()


if __name__ == "__main__":
    unittest.main()
