"""The line modes, as a user of nc sees them."""

import os
import socket
import unittest

from server import InteropTest, receive, receive_all


class Lines(InteropTest):
    def setUp(self):
        self.need("nc")

    def assert_answers(self, arguments, said, heard):
        server = self.serve(*arguments)
        code, output, errors = self.run_program(["nc", "-N", "127.0.0.1", server.port], said)
        self.assertEqual((code, output), (0, heard), errors)
        server.stop()

    def test_prefix(self):
        self.assert_answers(["--prefix", "Echo: "], b"hello\nworld\n", b"Echo: hello\nEcho: world\n")

    def test_empty_lines_are_lines(self):
        self.assert_answers(["--prefix", "> "], b"\n\r\n\n", b"> \n> \r\n> \n")

    def test_nothing_is_answered_with_nothing(self):
        self.assert_answers(["--prefix", "> "], b"", b"")

    def test_a_line_ending_comes_back_as_it_came(self):
        self.assert_answers(["--prefix", "> "], b"a\r\nb\nc\r\n", b"> a\r\n> b\n> c\r\n")

    def test_a_carriage_return_alone_ends_no_line(self):
        self.assert_answers(["--prefix", "> "], b"a\rb\n", b"> a\rb\n")

    def test_a_last_line_without_an_ending_is_answered_at_the_end(self):
        self.assert_answers(["--prefix", "Echo: "], b"hello\nworld", b"Echo: hello\nEcho: world")

    def test_a_prefix_leaves_bytes_as_they_are(self):
        self.assert_answers(["--prefix", "é "], b"\xff\xfe\0\n", "é ".encode() + b"\xff\xfe\0\n")

    def test_upper(self):
        said = "straße, ǆ, ﬁn, éè, ı\r\nplain 123\n"
        self.assert_answers(["--upper"], said.encode(), said.upper().encode())
        self.assertIn("STRASSE", said.upper())

    def test_upper_replaces_what_is_no_text(self):
        self.assert_answers(["--upper"], b"a\xffb\xe2\x82\nc\n", "A\ufffdB\ufffd\nC\n".encode())

    def test_bye(self):
        for farewell in (b"bye\n", b"bye\r\n", b"bye"):
            with self.subTest(farewell=farewell):
                self.assert_answers(["--bye"], b"hello\n" + farewell, b"hello\n")

    def test_what_is_not_exactly_bye_is_answered(self):
        said = b"Bye\nbye \n bye\nbyebye\ngoodbye\n\nbye\r\r\n"
        self.assert_answers(["--bye"], said, said)

    def test_nothing_after_bye_is_answered(self):
        self.assert_answers(["--bye"], b"one\nbye\ntwo\nthree", b"one\n")

    def test_bye_closes_although_the_client_has_not_finished(self):
        server = self.serve("--bye")
        stream = self.connect(server)
        stream.sendall(b"hello\nbye\n")
        self.assertEqual(receive_all(stream), b"hello\n")
        stream.close()
        server.stop()

    def test_all_of_them_combine(self):
        said = "grüße\r\nbye\nmore\n".encode()
        self.assert_answers(["--prefix", "> ", "--upper", "--bye"], said, "> GRÜSSE\r\n".encode())

    def test_a_line_of_the_greatest_length_is_answered(self):
        for ending in (b"\n", b"\r\n", b""):
            with self.subTest(ending=ending):
                said = b"x" * 16 + ending
                self.assert_answers(["--prefix", "> ", "--max-line", "16"], said, b"> " + said)

    def test_a_longer_line_closes_the_connection(self):
        for line in (b"x" * 17 + b"\n", b"x" * 17, b"x" * 1_000_000):
            with self.subTest(length=len(line)):
                server = self.serve("--prefix", "> ", "--max-line", "16")
                stream = self.connect(server)
                stream.sendall(b"short\n")
                self.assertEqual(receive(stream, 8), b"> short\n")
                stream.sendall(line)
                self.assertEqual(receive_all(stream), b"")
                stream.close()
                server.stop()

    def test_what_came_before_a_line_that_is_too_long_is_answered(self):
        server = self.serve("--prefix", "> ", "--max-line", "16")
        stream = self.connect(server)
        stream.sendall(b"one\ntwo\n" + b"x" * 100 + b"\nthree\n")
        self.assertEqual(receive_all(stream), b"> one\n> two\n")
        stream.close()
        server.stop()

    def test_without_a_line_mode_lines_have_no_length(self):
        content = b"x" * 1_000_000
        self.assert_answers(["--max-line", "16"], content, content)

    def test_a_line_may_have_any_length_that_it_is_given(self):
        for limit in ("0", "4MiB"):
            with self.subTest(limit=limit):
                said = b"x" * 3_000_000 + b"\n"
                self.assert_answers(["--prefix", "> ", "--max-line", limit], said, b"> " + said)

    def test_a_line_that_arrives_a_byte_at_a_time(self):
        server = self.serve("--prefix", "> ")
        stream = self.connect(server)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"hello\r\n":
            stream.send(bytes([byte]))
        self.assertEqual(receive(stream, 9), b"> hello\r\n")
        stream.close()
        server.stop()

    def test_many_lines_to_a_client_that_reads_late(self):
        server = self.serve("--prefix", "Echo: ")
        count = 100_000
        said = b"".join(b"line %d\n" % number for number in range(count))
        code, output, errors = self.run_program(["nc", "-N", "127.0.0.1", server.port], said)
        self.assertEqual(code, 0, errors)
        heard = b"".join(b"Echo: line %d\n" % number for number in range(count))
        self.assert_same_bytes(output, heard)
        server.stop()

    def test_lines_over_a_unix_socket(self):
        path = os.path.join(self.temporary_directory(), "x.sock")
        server = self.serve("--prefix", "> ", listen=(f"unix:{path}",))
        code, output, _ = self.run_program(["nc", "-N", "-U", path], b"hello\nworld")
        self.assertEqual((code, output), (0, b"> hello\n> world"))
        server.stop()


if __name__ == "__main__":
    unittest.main()
