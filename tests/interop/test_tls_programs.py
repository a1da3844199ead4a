"""TLS in the programs: options, files, signals, the terminator and the clients."""

import os
import re
import signal
import socket
import ssl
import stat
import struct
import subprocess
import threading
import time
import unittest

from secure import TLS12, TLS13, VERSIONS, SecureTest, client_context, serial_of, server_context
from server import BINARIES, PATIENCE, Program, Wire, receive, receive_all, until


def one_error(test, outcome, *words):
    """It could not run, and says why in one line."""
    code, output, errors = outcome
    test.assertEqual((code, output), (1, b""), errors)
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    test.assertEqual(len(lines), 1, errors)
    for word in words:
        test.assertIn(word, lines[0])
    return lines[0]


class Development(SecureTest):
    """The certificate that is made when there is none."""

    FILES = {"ca.pem": 0o644, "cert.pem": 0o644, "key.pem": 0o600, "ca-key.pem": 0o600}

    def start(self, directory, *arguments, program="echo-server", **options):
        extra = [] if program == "tls-server" else ["--tls"]
        return self.serve(*extra, "--tls-dir", directory, *arguments, program=program, **options)

    def test_it_is_made_once_with_modes_and_advice(self):
        directory = os.path.join(self.temporary_directory(), "a", "dev-tls")
        server = self.start(directory)
        self.assertEqual(set(os.listdir(directory)), set(self.FILES))
        for name, mode in self.FILES.items():
            # The others are as readable as the user likes new files to be.
            mask = 0o777 if mode == 0o600 else 0o700
            self.assertEqual(stat.S_IMODE(os.stat(f"{directory}/{name}").st_mode) & mask, mode & mask, name)
        authority = f"{directory}/ca.pem"
        errors = server.errors()
        self.assertIn(f"curl --cacert {authority} https://localhost:{server.port}/", errors)
        self.assertIn(f"openssl s_client -CAfile {authority} -connect localhost:{server.port}", errors)
        for name in ("localhost", "127.0.0.1"):
            peer = self.peer(server, context=client_context(authority))
            peer.shake_hands()
            self.assertTrue(peer.round_trip(b"x"), name)
        server.stop()
        before = {name: open(f"{directory}/{name}", "rb").read() for name in self.FILES}
        server = self.start(directory, "--loops", "2", program="tls-server")
        after = {name: open(f"{directory}/{name}", "rb").read() for name in self.FILES}
        self.assertEqual(before, after)
        server.stop()

    def test_it_is_for_each_of_its_names(self):
        directory = self.temporary_directory()
        server = self.start(directory, listen=("127.0.0.1:0", "[::1]:0"))
        for index, name in ((0, "localhost"), (0, "127.0.0.1"), (1, "::1")):
            with self.subTest(name=name):
                stream = self.connect(server, index=index)
                context = client_context(f"{directory}/ca.pem")
                with context.wrap_socket(stream, server_hostname=name) as tls:
                    tls.sendall(b"x")
                    self.assertEqual(tls.recv(1), b"x")
        server.stop()

    def test_the_default_directory_is_dev_tls(self):
        directory = self.temporary_directory()
        server = self.serve(program="tls-server", cwd=directory)
        self.assertEqual(os.listdir(directory), ["dev-tls"])
        server.stop()

    def test_several_programs_at_once_agree(self):
        directory = os.path.join(self.temporary_directory(), "dev-tls")
        children = [
            Program(self, [BINARIES / "echo-server", "--tls", "--tls-dir", directory, "--listen", "127.0.0.1:0"])
            for _ in range(6)
        ]
        shown = set()
        for child in children:
            line = child.process.stdout.readline().decode()
            port = int(line.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as stream:
                with client_context(f"{directory}/ca.pem").wrap_socket(stream, server_hostname="localhost") as tls:
                    shown.add(tls.getpeercert(True))
        self.assertEqual(len(shown), 1)

    def test_what_cannot_be_used_is_made_anew_and_that_is_said(self):
        directory = self.temporary_directory()
        self.start(directory).stop()
        expired = self.certificates.issue("old-development", days=-1)
        for name, content in (
            ("cert.pem", b"nonsense"),
            ("key.pem", open(self.identity[1], "rb").read()),
            ("ca.pem", b""),
            ("cert.pem", open(expired[0], "rb").read()),
        ):
            with self.subTest(name=name):
                with open(f"{directory}/{name}", "wb") as out:
                    out.write(content)
                server = self.start(directory)
                self.assertIn(f"{directory}/{name}", server.errors())
                self.assertIn("made anew", server.errors())
                self.assertEqual(stat.S_IMODE(os.stat(f"{directory}/key.pem").st_mode), 0o600)
                peer = self.peer(server, context=client_context(f"{directory}/ca.pem"))
                peer.shake_hands()
                server.stop()

    def test_a_directory_that_cannot_be_made_is_named(self):
        file = os.path.join(self.temporary_directory(), "file")
        open(file, "w").close()
        outcome = self.run_program([BINARIES / "echo-server", "--tls", "--tls-dir", file, "--listen", "127.0.0.1:0"])
        one_error(self, outcome, file)


class Options(SecureTest):
    def run_server(self, *arguments, program="echo-server"):
        return self.run_program([BINARIES / program, "--listen", "127.0.0.1:0", *arguments])

    def test_what_does_not_belong_together_is_wrong_usage(self):
        certificate, key = self.identity
        for program, arguments in (
            ("echo-server", ["--tls", "--cert", certificate]),
            ("echo-server", ["--tls", "--key", key]),
            ("echo-server", ["--cert", certificate, "--key", key]),
            ("echo-server", ["--client-ca", self.authority]),
            ("echo-server", ["--tls-dir", "x"]),
            ("tls-server", ["--cert", certificate]),
            ("tls-server", ["--proxy-protocol", "v1"]),
            ("tls-server", ["--forward", "127.0.0.1:1", "--proxy-protocol", "v3"]),
            ("tls-server", ["--forward", "nonsense"]),
            ("tls-server", ["--listen", "udp:127.0.0.1:0"]),
        ):
            with self.subTest(program=program, arguments=arguments):
                code, output, errors = self.run_server(*arguments, program=program)
                self.assertEqual((code, output), (2, b""), errors)
                self.assertTrue(errors.startswith("error: "), errors)

    def test_bad_files_are_named_in_one_line(self):
        certificate, key = self.identity
        _, other = self.certificates.issue("other")
        empty = self.certificates.path("empty.pem")
        open(empty, "w").close()
        directory = self.certificates.directory
        missing = self.certificates.path("missing.pem")
        broken = self.certificates.path("broken.pem")
        with open(broken, "w", encoding="ascii") as out:
            out.write("-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")
        for files, word in (
            ((missing, key), missing),
            ((certificate, missing), missing),
            ((certificate, other), other),
            ((empty, key), empty),
            ((key, key), key),
            ((certificate, empty), empty),
            ((certificate, certificate), certificate),
            ((broken, key), broken),
            ((directory, key), directory),
        ):
            with self.subTest(files=files):
                outcome = self.run_server("--tls", "--cert", files[0], "--key", files[1])
                one_error(self, outcome, word)
                self.assertEqual(len(outcome[2].splitlines()), 1, outcome[2])
        for path in (missing, empty, broken, key):
            with self.subTest(client_ca=path):
                outcome = self.run_server("--tls", "--cert", certificate, "--key", key, "--client-ca", path)
                one_error(self, outcome, path)

    def test_a_key_that_may_not_be_read_is_named(self):
        if os.getuid() == 0 and not os.path.exists("/usr/bin/setpriv"):
            self.skipTest("root may read everything")
        certificate, key = self.certificates.issue("secret")
        os.chmod(key, 0)
        os.chmod(self.certificates.directory, 0o755)
        wrapper = ["setpriv", "--reuid=65534", "--clear-groups"] if os.getuid() == 0 else []
        # Who is nobody may not come to where the program is built, either.
        with open(BINARIES / "echo-server", "rb") as program:
            number = program.fileno()
            outcome = self.run_program(
                [*wrapper, f"/proc/self/fd/{number}", "--listen", "127.0.0.1:0", "--tls", "--cert", certificate,
                 "--key", key],
                pass_fds=[number],
            )  # fmt: skip
        one_error(self, outcome, key, "permission denied")

    def test_an_expired_certificate_is_warned_of_at_the_start(self):
        expired = self.certificates.issue("expired", days=-1)
        server = self.serve_tls(identity=expired)
        self.assertRegex(server.errors(), f"WARN .*{re.escape(expired[0])}.*expired")
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.peer(server).shake_hands()
        server.stop()

    def test_tcp_speaks_tls_and_the_others_stay_as_they_are(self):
        path = os.path.join(self.temporary_directory(), "x.sock")
        server = self.serve_tls(listen=("127.0.0.1:0", f"unix:{path}", "udp:127.0.0.1:0", "[::1]:0"))
        schemes = [address.partition("://")[0] for address in server.addresses]
        self.assertEqual(schemes, ["tls", "unix", "udp", "tls"])
        self.assertTrue(self.secure(server).round_trip(b"x"))
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(PATIENCE)
            stream.connect(path)
            stream.sendall(b"in the clear")
            self.assertEqual(receive(stream, 12), b"in the clear")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(PATIENCE)
            datagrams.sendto(b"in the clear", server.host_and_port(2))
            self.assertEqual(datagrams.recv(100), b"in the clear")
        server.stop()


class Reload(SecureTest):
    def copy(self, identity, to):
        for source, name in zip(identity, to):
            with open(source, "rb") as content, open(f"{name}.new", "wb") as out:
                out.write(content.read())
            os.rename(f"{name}.new", name)

    def shown(self, server):
        peer = self.secure(server)
        peer.stream.close()
        return serial_of(peer.tls.getpeercert(True))

    def test_new_connections_get_new_files_and_old_ones_live_on(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                directory = self.temporary_directory()
                files = (f"{directory}/c.pem", f"{directory}/k.pem")
                self.copy(self.identity, files)
                server = self.serve_tls("--loops", loops, identity=files)
                olds = [self.beside(server) for _ in range(4)]
                before = self.shown(server)
                self.copy(self.certificates.issue("renewed"), files)
                self.assertEqual(self.shown(server), before, "not before it is asked to")
                server.signal(signal.SIGHUP)
                until(lambda: "SIGHUP" in server.errors(), "the signal is heard")
                self.assertEqual(len({self.shown(server) for _ in range(20)} - {before}), 1)
                self.assertNotIn(before, {self.shown(server) for _ in range(20)})
                for old in olds:
                    old.end()
                server.stop()

    def test_none_is_lost_while_files_change(self):
        directory = self.temporary_directory()
        files = (f"{directory}/c.pem", f"{directory}/k.pem")
        identities = [self.identity, self.certificates.issue("second")]
        self.copy(identities[0], files)
        server = self.serve_tls("--loops", "2", identity=files)
        for number in range(100):
            if number % 5 == 0:
                self.copy(identities[number // 5 % 2], files)
                server.signal(signal.SIGHUP)
            self.assertTrue(self.secure(server).round_trip(b"x"))
        server.stop()

    def test_a_bad_file_keeps_the_old_one_and_is_told(self):
        directory = self.temporary_directory()
        files = (f"{directory}/c.pem", f"{directory}/k.pem")
        self.copy(self.identity, files)
        server = self.serve_tls(identity=files)
        before = self.shown(server)
        other = self.certificates.issue("stranger")
        for number, (bad, word) in enumerate(
            (
                ((self.identity[0], other[1]), files[1]),
                ((self.identity[1], self.identity[1]), files[0]),
            )
        ):
            self.copy(bad, files)
            server.signal(signal.SIGHUP)
            lines = until(
                lambda: (found := [line for line in server.errors().splitlines() if "SIGHUP" in line])
                and len(found) > number
                and found,
                "the signal is heard",
            )
            self.assertIn("ERROR", lines[-1])
            self.assertIn(word, lines[-1])
            self.assertEqual(self.shown(server), before)
        os.remove(files[1])
        server.signal(signal.SIGHUP)
        until(lambda: "no such file" in server.errors(), "it is told")
        self.assertEqual(self.shown(server), before)
        server.stop()

    def test_an_authority_that_is_trusted_no_more_is_not_trusted_by_old_tickets(self):
        trusted = self.certificates.path("trusted.pem")
        first, second = self.certificates.authority("first"), self.certificates.authority("second")
        mine = self.certificates.issue("mine", ca="first", client=True)
        self.copy([first], [trusted])
        server = self.serve_tls("--client-ca", trusted)
        context = client_context(self.authority, TLS13, mine)
        peer = self.secure(server, context=context)
        self.assertTrue(peer.round_trip(b"x"))
        session = peer.tls.session
        self.copy([second], [trusted])
        server.signal(signal.SIGHUP)
        until(lambda: "SIGHUP" in server.errors(), "the signal is heard")
        peer = self.secure(server, context=context, session=session)
        with self.assertRaises((ssl.SSLError, OSError)):
            peer.round_trip(b"x")
            self.assertFalse(peer.ended)
        server.stop()


class ClientCertificates(SecureTest):
    def test_only_who_has_one_is_served(self):
        mine = self.certificates.issue("me", client=True)
        self.certificates.authority("nobody")
        foreign = self.certificates.issue("foreigner", ca="nobody", client=True)
        server = self.serve_tls("--client-ca", self.authority)
        address = f"localhost:{server.port}"
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertTrue(self.secure(server, version, identity=mine).round_trip(b"x"))
                for identity in (None, foreign):
                    with self.assertRaises((ssl.SSLError, OSError, AssertionError)):
                        peer = self.secure(server, version, identity=identity)
                        # In TLS 1.3 the client believes that all is well until it reads.
                        self.assertTrue(peer.round_trip(b"x"))
        common = [BINARIES / "echo-client", address, "--tls", "--ca", self.authority]
        outcome = self.run_program([*common, "--cert", mine[0], "--key", mine[1]], b"hello")
        self.assertEqual(outcome, (0, b"hello", ""))
        one_error(self, self.run_program(common, b"hello"), "certificate required")
        outcome = self.run_program([*common, "--cert", foreign[0], "--key", foreign[1]], b"hello")
        one_error(self, outcome, "certificate")
        server.stop()


class Clients(SecureTest):
    def client(self, *arguments, input=b"hello\n", program="tls-client"):
        return self.run_program([BINARIES / program, *arguments], input)

    def listener(self, answer, context=None):
        """A server of Python's that does `answer` with each client; its port."""
        listening = socket.create_server(("127.0.0.1", 0))

        def run():
            while True:
                try:
                    stream, _ = listening.accept()
                    stream.settimeout(PATIENCE)
                    answer(context.wrap_socket(stream, server_side=True) if context else stream)
                except OSError:
                    if listening.fileno() < 0:
                        return

        self.addCleanup(listening.close)
        self.addCleanup(lambda: listening.shutdown(socket.SHUT_RDWR))
        threading.Thread(target=run, daemon=True).start()
        return listening.getsockname()[1]

    def test_it_greets_and_tells_of_the_session(self):
        certificate, key = self.identity
        server = self.serve("--tls", "--cert", certificate, "--key", key, program="tls-server")
        self.assertTrue(server.ready[0].startswith("listening on tls://"))
        for host in ("localhost", "127.0.0.1"):
            code, output, errors = self.client(f"{host}:{server.port}", "--ca", self.authority)
            self.assertEqual((code, output), (0, b"Hello over TLS\n"), errors)
            self.assertRegex(errors, r"^TLSv1\.3, TLS_[A-Z0-9_]+, not resumed\n$")
        server.stop()

    def test_the_version_is_what_was_agreed_on(self):
        def answer(stream):
            stream.sendall(stream.recv(100))
            stream.unwrap()
            stream.close()

        port = self.listener(answer, server_context(self.identity, TLS12))
        code, output, errors = self.client(f"localhost:{port}", "--ca", self.authority)
        self.assertEqual((code, output), (0, b"hello\n"), errors)
        self.assertRegex(errors, r"^TLSv1\.2, TLS_ECDHE_[A-Z0-9_]+, not resumed\n$")

    def test_a_server_of_openssl(self):
        certificate, key = self.identity
        for option, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            server = Program(
                self,
                ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", certificate, "-key", key, option,
                 "-rev", "-naccept", "1"],
            )  # fmt: skip
            until(lambda: b"ACCEPT" in server.process.stdout.readline(), "it is ready")
            code, output, errors = self.client(f"localhost:{port}", "--ca", self.authority)
            self.assertEqual((code, output), (0, b"olleh\n"), errors)
            self.assertIn(version, errors)

    def test_a_certificate_that_is_not_to_be_trusted(self):
        server = self.serve_tls()
        address = f"localhost:{server.port}"
        for program in ("tls-client", "echo-client"):
            tls = ["--tls"] if program == "echo-client" else []
            outcome = self.client(address, *tls, program=program)
            one_error(self, outcome, address, "certificate", "nobody who is trusted")
            outcome = self.client(address, *tls, "--ca", self.authority, "--sni", "example.com", program=program)
            one_error(self, outcome, "certificate", "another name")
        code, output, errors = self.client(address, "--tls", "--insecure", program="echo-client")
        self.assertEqual((code, output), (0, b"hello\n"), errors)
        self.assertRegex(errors, "^warning: .*--insecure.*\n$")
        server.stop()
        server = self.serve_tls(identity=self.certificates.issue("late", days=-1))
        outcome = self.client(f"localhost:{server.port}", "--ca", self.authority)
        one_error(self, outcome, "certificate", "expired")
        server.stop()

    def test_the_name_that_is_sent_is_the_one_that_is_verified(self):
        seen = []

        def answer(stream):
            stream.sendall(stream.recv(100))
            stream.unwrap()
            stream.close()

        context = server_context(self.certificates.issue("named", names="DNS:example.test"))
        context.sni_callback = lambda tls, name, context: seen.append(name)
        port = self.listener(answer, context)
        outcome = self.client(f"127.0.0.1:{port}", "--ca", self.authority, "--sni", "example.test")
        self.assertEqual(outcome[:2], (0, b"hello\n"), outcome)
        self.assertEqual(seen, ["example.test"])

    def test_a_fin_without_close_notify_is_closed_early(self):
        def answer(stream):
            stream.sendall(b"half of ")
            receive(stream, 6)
            socket.socket.close(stream)  # no unwrap: FIN alone

        port = self.listener(answer, server_context(self.identity))
        code, output, errors = self.client(f"localhost:{port}", "--ca", self.authority)
        self.assertEqual((code, output), (1, b"half of "), errors)
        self.assertIn("closed early", errors.splitlines()[-1])

    def test_whoever_speaks_no_tls(self):
        def hangs_up(stream):
            stream.recv(10000)
            stream.close()

        def greets(stream):
            stream.sendall(b"220 mail.example.com ESMTP\r\n")
            stream.recv(10000)

        silent = []
        outcome = self.client(f"localhost:{self.listener(hangs_up)}")
        self.assertRegex(one_error(self, outcome), "closed early|reset")
        one_error(self, self.client(f"localhost:{self.listener(greets)}"), "TLS")
        outcome = self.client(f"localhost:{self.listener(silent.append)}", "--timeout", "1s")
        one_error(self, outcome, "timed out")

    def test_nobody_is_there(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        one_error(self, self.client(f"127.0.0.1:{port}"), "refused")

    def test_many_bytes_come_back_through_echo_client(self):
        server = self.serve_tls()
        content = os.urandom(24 << 20)
        outcome = self.client(
            f"localhost:{server.port}", "--tls", "--ca", self.authority, input=content, program="echo-client"
        )
        self.assertEqual((outcome[0], outcome[2]), (0, ""))
        self.assert_same_bytes(outcome[1], content)
        outcome = self.client(f"localhost:{server.port}", "--ca", self.authority, input=content)
        self.assertEqual(outcome[0], 0, outcome[2])
        self.assert_same_bytes(outcome[1], content)
        server.stop()


class Forward(SecureTest):
    def upstream(self):
        listening = socket.create_server(("127.0.0.1", 0))
        listening.settimeout(PATIENCE)
        self.addCleanup(listening.close)
        return listening, listening.getsockname()[1]

    def terminate(self, target, *arguments, **options):
        certificate, key = self.identity
        return self.serve(
            "--cert", certificate, "--key", key, "--forward", target, *arguments, program="tls-server", **options
        )

    def wrap(self, server, version=None):
        tls = client_context(self.authority, version).wrap_socket(self.connect(server), server_hostname="localhost")
        self.addCleanup(tls.close)
        return tls

    def accept(self, listening):
        stream, _ = listening.accept()
        stream.settimeout(PATIENCE)
        self.addCleanup(stream.close)
        return stream

    def test_plaintext_goes_there_and_back(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        for version in VERSIONS:
            tls = self.wrap(server, version)
            tls.sendall(b"question")
            plain = self.accept(listening)
            self.assertEqual(receive(plain, 8), b"question")
            plain.sendall(b"answer")
            self.assertEqual(receive(tls, 6), b"answer")
        server.stop()

    def test_an_upstream_that_speaks_first(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        tls = self.wrap(server)
        self.accept(listening).sendall(b"220 welcome\r\n")
        self.assertEqual(receive(tls, 13), b"220 welcome\r\n")
        server.stop()

    def test_a_half_close_of_the_client_is_the_upstreams_and_the_answer_comes(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        client = subprocess.Popen(
            [BINARIES / "tls-client", f"localhost:{server.port}", "--ca", self.authority],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.addCleanup(client.kill)
        client.stdin.write(b"all of it")
        client.stdin.close()
        plain = self.accept(listening)
        self.assertEqual(receive_all(plain), b"all of it")
        plain.sendall(b"late answer")
        plain.close()
        self.assertEqual(client.stdout.read(), b"late answer")
        self.assertEqual(client.wait(PATIENCE), 0)
        client.stdout.close()
        server.stop()

    def test_a_half_close_of_the_upstream_is_the_clients_who_goes_on(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        peer = self.secure(server)
        peer.tls.write(b"x")
        peer.write_out()
        plain = self.accept(listening)
        self.assertEqual(receive(plain, 1), b"x")
        plain.sendall(b"that is all")
        plain.shutdown(socket.SHUT_WR)
        self.assertEqual(peer.receive_end(), (b"that is all", "close_notify"))
        peer.tls.write(b"but I have more")
        peer.write_out()
        self.assertEqual(receive(plain, 15), b"but I have more")
        peer.stream.shutdown(socket.SHUT_WR)
        server.stop()

    def test_whoever_does_not_read_stops_the_other_and_costs_little(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        content = os.urandom(48 << 20)
        # Towards the upstream.
        tls = self.wrap(server)
        wire = Wire(tls, content)
        plain = self.accept(listening)
        self.until_stuck(wire)
        self.assertLess(wire.written, len(content) // 2)
        self.assertLess(server.resident(), 32 << 20)
        self.assert_same_bytes(receive(plain, len(content)), content)
        self.assertTrue(wire.done())
        # And back.
        wire = Wire(plain, content)
        self.until_stuck(wire)
        self.assertLess(wire.written, len(content) // 2)
        self.assertLess(server.resident(), 32 << 20)
        self.assert_same_bytes(receive(tls, len(content)), content)
        self.assertTrue(wire.done())
        server.stop()

    def until_stuck(self, wire):
        seen = [wire.written, time.monotonic()]

        def stuck():
            now = time.monotonic()
            if wire.written != seen[0] or wire.written == 0:
                seen[:] = [wire.written, now]
            return now - seen[1] > 0.5

        until(stuck, "nothing more can be written")

    def test_an_upstream_that_is_not_there_closes_the_client_and_is_told(self):
        listening, port = self.upstream()
        listening.close()
        server = self.terminate(f"127.0.0.1:{port}")
        tls = self.wrap(server)
        try:
            tls.sendall(b"x")
            self.assertEqual(receive_all(tls), b"")
        except OSError:
            pass
        until(lambda: f"upstream 127.0.0.1:{port}: connection refused" in server.errors(), "it is told")
        server.stop()

    def test_an_upstream_that_is_reset_closes_the_client_after_what_it_said(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        tls = self.wrap(server)
        tls.sendall(b"x")
        plain = self.accept(listening)
        self.assertEqual(receive(plain, 1), b"x")
        plain.sendall(b"half")
        self.assertEqual(receive(tls, 4), b"half")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        plain.close()
        try:
            self.assertEqual(receive_all(tls), b"")
        except OSError:
            pass
        until(lambda: "connection reset" in server.errors(), "it is told")
        server.stop()

    def test_the_upstream_is_told_who_it_is(self):
        listening, port = self.upstream()
        for version in ("v1", "v2"):
            server = self.terminate(
                f"127.0.0.1:{port}", "--proxy-protocol", version, listen=("127.0.0.1:0", "[::1]:0", "[::]:0")
            )
            for index, host in ((0, "127.0.0.1"), (1, "::1"), (2, "127.0.0.1")):
                with self.subTest(version=version, host=host):
                    to = server.host_and_port(index)[1]
                    stream = socket.create_connection((host, to), PATIENCE)
                    tls = client_context(self.authority).wrap_socket(stream, server_hostname="localhost")
                    mine = tls.getsockname()[1]
                    tls.sendall(b"and then")
                    plain = self.accept(listening)
                    there = "0.0.0.0" if index == 2 else host
                    if version == "v1":
                        family = "TCP6" if ":" in host else "TCP4"
                        header = f"PROXY {family} {host} {there} {mine} {to}\r\n".encode()
                    else:
                        kind, family, size = (0x21, socket.AF_INET6, 36) if ":" in host else (0x11, socket.AF_INET, 12)
                        header = b"\r\n\r\n\0\r\nQUIT\n" + struct.pack(">BBH", 0x21, kind, size)
                        header += socket.inet_pton(family, host) + socket.inet_pton(family, there)
                        header += struct.pack(">HH", mine, to)
                    self.assertEqual(receive(plain, len(header) + 8), header + b"and then")
                    tls.close()
            server.stop()

    def test_what_a_client_said_before_it_was_cut_off_arrives(self):
        listening, port = self.upstream()
        server = self.terminate(f"127.0.0.1:{port}")
        content = os.urandom(300_000)
        for version in VERSIONS:
            with self.subTest(version=version):
                peer = self.secure(server, version)
                peer.tls.write(content)
                peer.write_out()
                peer.stream.shutdown(socket.SHUT_WR)  # FIN without close_notify
                self.assert_same_bytes(receive_all(self.accept(listening)), content)
        server.stop()

    def test_an_upstream_on_a_unix_socket(self):
        path = os.path.join(self.temporary_directory(), "up.sock")
        echo = self.serve(listen=(f"unix:{path}",))
        server = self.terminate(f"unix:{path}")
        self.assertTrue(self.secure(server).round_trip(b"hello"))
        server.stop()
        echo.stop()

    def test_the_limit_is_on_clients_and_upstreams_do_not_count(self):
        echo = self.serve()
        server = self.terminate(f"127.0.0.1:{echo.port}", "--max-connections", "1")
        first = self.secure(server)
        self.assertTrue(first.round_trip(b"one"))
        waiting = self.peer(server)  # in the backlog
        waiting.begin()
        waiting.write_out()
        first.stream.close()
        waiting.shake_hands()
        self.assertTrue(waiting.round_trip(b"two"))
        server.stop()
        echo.stop()

    def test_many_at_once(self):
        echo = self.serve()
        server = self.terminate(f"127.0.0.1:{echo.port}", "--loops", "2")
        peers = [self.secure(server) for _ in range(100)]
        for number, peer in enumerate(peers):
            peer.tls.write(b"%4d" % number * 1000)
            peer.write_out()
        for number, peer in enumerate(peers):
            self.assert_same_bytes(peer.receive(4000), b"%4d" % number * 1000)
            peer.stream.close()
        server.stop()
        echo.stop()


if __name__ == "__main__":
    unittest.main()
