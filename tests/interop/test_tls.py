"""TLS on the wire: any cut, any pace, and peers that do not play by the rules."""

import os
import random
import select
import socket
import ssl
import struct
import subprocess
import time
import unittest

from secure import TLS12, TLS13, VERSIONS, SecureTest, client_context
from server import PATIENCE, TICKS_PER_SECOND, receive_all, until

HANDSHAKE = 5.0  # seconds that one may take

ALERT, SHAKE, DATA = 0x15, 0x16, 0x17


def record(kind, content, length=None):
    return struct.pack(">BHH", kind, 0x0303, len(content) if length is None else length) + content


class Honest(SecureTest):
    """Whoever speaks TLS is served, however its bytes come."""

    def test_from_one_byte_to_eight_mebibytes_with_a_reader_that_pauses(self):
        server = self.serve_tls()
        for version in VERSIONS:
            for size in (1, 1000, 16384, 16385, 200_000, 8 << 20):
                for pause in (False, True):
                    with self.subTest(version=version, size=size, pause=pause):
                        content = random.Random(size).randbytes(size)
                        peer = self.secure(server, version, receive_buffer=65536 if pause else None)
                        self.assert_same_bytes(peer.exchange(content, pause), content)
                        peer.stream.close()
        server.stop()

    def test_the_last_flight_and_the_first_data_in_one_segment_then_silence(self):
        server = self.serve_tls()
        peer = self.peer(server, TLS13)
        peer.shake_hands(hold_last=True)
        peer.tls.write(b"first words")
        peer.stream.sendall(peer.take_outgoing())
        self.assertEqual(peer.receive(11), b"first words")
        # In TLS 1.2 it is the client of a resumed session who says the last word.
        context = client_context(self.authority, TLS12)
        first = self.secure(server, context=context)
        self.assertTrue(first.round_trip(b"x"))
        peer = self.peer(server, context=context, session=first.tls.session)
        peer.shake_hands(hold_last=True)
        self.assertTrue(peer.tls.session_reused)
        peer.tls.write(b"first words")
        peer.stream.sendall(peer.take_outgoing())
        self.assertEqual(peer.receive(11), b"first words")
        server.stop()

    def test_two_hundred_thousand_bytes_in_one_write_then_silence(self):
        server = self.serve_tls()
        content = random.Random(3).randbytes(200_000)
        for version in VERSIONS:
            with self.subTest(version=version):
                peer = self.secure(server, version)
                peer.tls.write(content)
                peer.stream.sendall(peer.take_outgoing())
                self.assert_same_bytes(peer.receive(len(content)), content)
        server.stop()

    def test_every_flight_in_segments_of_one_byte(self):
        server = self.serve_tls()
        for version in VERSIONS:
            with self.subTest(version=version):
                peer = self.peer(server, version)
                peer.shake_hands(piece=1)
                peer.tls.write(b"one by one")
                peer.write_out(piece=1)
                self.assertEqual(peer.receive(10), b"one by one")
        server.stop()

    def test_a_half_close_goes_one_way(self):
        """close_notify says that we have finished; what was sent before is answered, and then the server finishes."""
        server = self.serve_tls()
        for version in VERSIONS:
            with self.subTest(version=version):
                peer = self.secure(server, version)
                peer.tls.write(b"last words")
                try:
                    peer.tls.unwrap()
                except ssl.SSLWantReadError:
                    pass
                peer.write_out()
                peer.stream.shutdown(socket.SHUT_WR)
                ciphertext = receive_all(peer.stream)
                # Python reads nothing more after its own close_notify; so it is counted by records: the answer,
                # and an alert behind it.
                kinds = [kind for kind, _ in records(ciphertext)]
                self.assertIn(len(kinds), (2, 3, 4), kinds)
                self.assertEqual(kinds[-1], ALERT if version == TLS12 else DATA)
        server.stop()

    def test_sessions_are_resumed_on_whichever_loop(self):
        server = self.serve_tls("--loops", "2", "--metrics", "127.0.0.1:0", ready=2)
        for version in VERSIONS:
            with self.subTest(version=version):
                context = client_context(self.authority, version)
                peer = self.secure(server, context=context)
                self.assertTrue(peer.round_trip(b"x"))
                self.assertFalse(peer.tls.session_reused)
                for _ in range(10):
                    session = peer.tls.session
                    peer = self.secure(server, context=context, session=session)
                    self.assertTrue(peer.round_trip(b"x"))
                    self.assertTrue(peer.tls.session_reused)
        page = self.page(server)
        self.assertIn("\nreactor_tls_handshakes_total 22\n", page)
        self.assertIn("\nreactor_tls_handshakes_resumed_total 20\n", page)
        server.stop()

    def page(self, server):
        host, port = server.host_and_port(-1)
        with socket.create_connection((host, port), PATIENCE) as stream:
            stream.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n")
            return receive_all(stream).decode()

    def test_keys_are_changed_a_hundred_times_with_data_between(self):
        server = self.serve_tls()
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_3", "-CAfile", self.authority],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0,
        )  # fmt: skip
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.stdin.close)
        self.addCleanup(client.wait)
        self.addCleanup(client.kill)
        said = bytearray()

        def hears(text):
            while text not in said:
                self.assertTrue(select.select([client.stdout], [], [], PATIENCE)[0], bytes(said[-300:]))
                part = os.read(client.stdout.fileno(), 65536)
                self.assertTrue(part, bytes(said[-300:]))
                said.extend(part)
            del said[: said.index(text) + len(text)]

        hears(b"Verify return code: 0")
        for number in range(100):
            client.stdin.write(b"K\n")  # the server is to change its keys, too
            hears(b"KEYUPDATE")
            client.stdin.write(b"line %d\n" % number)
            hears(b"line %d\n" % number)
        server.stop()

    def test_nothing_below_version_1_2(self):
        server = self.serve_tls()
        for option in ("-tls1", "-tls1_1"):
            code, output, errors = self.run_program(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", option, "-cipher", "ALL:@SECLEVEL=0"]
            )
            self.assertNotEqual(code, 0, output)
            self.assertRegex(errors, "alert (protocol version|handshake failure)")
        server.stop()

    def test_certificates_of_both_kinds_and_a_whole_chain(self):
        for key in ("ec", "rsa"):
            with self.subTest(key=key):
                certificate, path = self.certificates.issue(f"kind-{key}", key=key)
                chain = self.certificates.path(f"chain-{key}.pem")
                with open(chain, "wb") as out:
                    for name in (certificate, self.authority):
                        with open(name, "rb") as part:
                            out.write(part.read())
                server = self.serve_tls(identity=(chain, path))
                for version in VERSIONS:
                    self.assertTrue(self.secure(server, version).round_trip(b"x"))
                code, output, errors = self.run_program(
                    ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-showcerts"]
                )
                # Each is shown once, and our own once more by itself.
                self.assertGreaterEqual(output.count(b"BEGIN CERTIFICATE"), 2, errors)
                server.stop()

    def test_curl_and_openssl(self):
        self.need("curl")
        server = self.serve_tls()
        host = f"localhost:{server.port}"
        code, output, errors = self.run_program(
            ["curl", "-sS", "--http0.9", "--max-time", "5", "--cacert", self.authority, f"https://{host}/", "-o", "-"]
        )
        self.assertIn(b"GET / HTTP/1.1\r\nHost: localhost", output, errors)
        for version in ("-tls1_2", "-tls1_3"):
            client = subprocess.Popen(
                ["openssl", "s_client", "-connect", host, version, "-quiet", "-verify_return_error",
                 "-CAfile", self.authority],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0,
            )  # fmt: skip
            client.stdin.write(b"hello\n")
            self.assertTrue(select.select([client.stdout], [], [], PATIENCE)[0])
            self.assertEqual(os.read(client.stdout.fileno(), 100), b"hello\n")
            client.kill()
            client.communicate()
        server.stop()


def records(ciphertext):
    """Kinds and lengths."""
    while ciphertext:
        kind, _, length = struct.unpack(">BHH", ciphertext[:5])
        yield kind, length
        ciphertext = ciphertext[5 + length :]


class Hostile(SecureTest):
    """Each ends as it should, by the handshake's deadline, for next to no CPU, and nobody beside it notices."""

    def setUp(self):
        self.server = self.serve_tls()
        self.honest = self.beside(self.server)
        until(lambda: self.honest.trips or self.honest.error, "the connection beside")
        self.begin = time.monotonic()
        self.ticks = self.server.ticks()

    def tearDown(self):
        # The one beside costs something, too: 20 round trips a second.
        spent = (self.server.ticks() - self.ticks) / TICKS_PER_SECOND
        took = time.monotonic() - self.begin
        self.assertLess(spent, 0.1 + 0.01 * took)
        self.assertLess(took, HANDSHAKE + 5)
        self.honest.end()
        self.assertLess(self.server.resident(), 64 << 20)
        # What one peer does is not news.
        self.assertNotRegex(self.server.errors(), "WARN|ERROR")
        self.server.stop()

    def stream(self):
        return self.connect(self.server)

    def hello(self):
        """A client whose first message is on its way."""
        peer = self.peer(self.server)
        peer.begin()
        return peer

    def assert_hangs_up(self, stream, within=HANDSHAKE + 3):
        """All that it still says."""
        begin = time.monotonic()
        try:
            said = receive_all(stream)
        except ConnectionResetError:
            said = None
        self.assertLess(time.monotonic() - begin, within)
        return said

    def test_silence(self):
        stream = self.stream()
        self.assertEqual(self.assert_hangs_up(stream), b"")
        self.assertGreater(time.monotonic() - self.begin, HANDSHAKE - 0.5)

    def test_silence_after_half_a_hello(self):
        peer = self.hello()
        peer.stream.sendall(peer.take_outgoing()[:100])
        self.assert_hangs_up(peer.stream)

    def test_silence_after_a_hello(self):
        peer = self.hello()
        peer.write_out()
        self.assert_hangs_up(peer.stream)

    def test_a_handshake_of_four_bytes_a_second(self):
        peer = self.hello()
        content = peer.take_outgoing()
        with self.assertRaises(OSError):
            for number in range(100):
                peer.stream.sendall(content[number : number + 1])
                if select.select([peer.stream], [], [], 0.25)[0] and not peer.stream.recv(100):
                    raise ConnectionResetError

    def test_a_request_of_http(self):
        stream = self.stream()
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = self.assert_hangs_up(stream, 3)
        self.assertTrue(said.startswith(b"HTTP/1.0 400 "), said)
        self.assertEqual(said.partition(b"\r\n\r\n")[2].count(b"\n"), 1)
        self.assertIn(b"https", said)

    def test_noise(self):
        stream = self.stream()
        stream.sendall(b"\0\1\2\3 what is this" * 100)
        self.assert_hangs_up(stream, 3)

    def test_close_notify_in_the_middle_of_the_handshake(self):
        for _ in range(2):
            peer = self.hello()
            peer.write_out()
            peer.read_in()
            peer.stream.sendall(record(ALERT, b"\1\0"))
            self.assert_hangs_up(peer.stream, 3)

    def test_a_record_that_is_too_long_before_and_after_the_handshake(self):
        stream = self.stream()
        stream.sendall(record(SHAKE, b"\0" * 18433))
        self.assert_hangs_up(stream, 3)
        peer = self.secure(self.server)
        try:
            peer.stream.sendall(record(DATA, b"\0" * 18433))
        except OSError:
            pass
        self.assert_hangs_up(peer.stream, 3)

    def test_a_hello_that_announces_sixteen_mebibytes(self):
        stream = self.stream()
        stream.sendall(record(SHAKE, b"\1\xff\xff\xff" + b"\0" * 16380))
        try:
            for _ in range(8):
                stream.sendall(record(SHAKE, b"\0" * 16384))
        except OSError:
            pass
        # It does not wait for more than the 144 KiB that have come, and says so.
        said = self.assert_hangs_up(stream, 3)
        self.assertTrue(not said or said[0] == ALERT, said)

    def test_warnings_without_end(self):
        peer = self.hello()
        peer.write_out()
        peer.read_in()
        try:
            for _ in range(1000):
                peer.stream.sendall(record(ALERT, b"\1\x5a"))
        except OSError:
            pass
        self.assert_hangs_up(peer.stream)

    def test_renegotiation_is_refused(self):
        # The command R asks for it.
        client = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}", "-tls1_2"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.addCleanup(client.kill)
        seen = b""
        while b"Verify return code" not in seen:
            part = os.read(client.stdout.fileno(), 65536)
            self.assertTrue(part, seen)
            seen += part
        client.stdin.write(b"R\n")
        client.stdin.flush()
        output, _ = client.communicate(timeout=PATIENCE)
        self.assertIn(b"RENEGOTIATING", output)
        self.assertIn(b"no renegotiation", output.lower())
        self.assertNotEqual(client.returncode, 0)

    def test_a_peer_that_is_reset_in_the_middle(self):
        for wait in (False, True):
            peer = self.hello()
            peer.write_out()
            if wait:
                peer.read_in()
            peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.stream.close()


class LastByte(SecureTest):
    def test_it_arrives_and_close_notify_and_fin_behind_it(self):
        """A hundred of a hundred, also for who has sent what nobody has read."""
        certificate, key = self.identity
        server = self.serve(
            "--cert", certificate, "--key", key, "--greeting", "the last byte: .", program="tls-server"
        )
        for version in VERSIONS:
            for unread in (0, 100_000):
                for number in range(50):
                    with self.subTest(version=version, unread=unread, number=number):
                        peer = self.secure(server, version)
                        peer.tls.write(b"x")
                        peer.write_out()
                        if unread:
                            peer.tls.write(b"y" * unread)
                            peer.write_out()
                        got, ended = peer.receive_end()
                        self.assertEqual((got, ended), (b"the last byte: .\n", "close_notify"))
                        peer.stream.close()
        server.stop()


if __name__ == "__main__":
    unittest.main()
