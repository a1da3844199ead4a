"""What cannot be done is told: one clear line, and the right exit code."""

import os
import shutil
import socket
import stat
import unittest

from server import BINARIES, InteropTest, receive, until


class Errors(InteropTest):
    def run_server(self, *arguments, **options):
        return self.run_program([BINARIES / "echo-server", *arguments], **options)

    def assert_cannot_run(self, outcome, *patterns):
        code, output, errors = outcome
        self.assertEqual(code, 1, errors)
        self.assertEqual(output, b"")
        told = [line for line in errors.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(told), 1, errors)
        self.assertEqual(errors.splitlines()[-1], told[0], "it is the last line")
        for pattern in patterns:
            self.assertRegex(told[0], pattern)

    def test_wrong_usage_exits_with_2(self):
        for arguments in (
            ["--no-such-option"],
            ["--listen"],
            ["--listen", "nonsense"],
            ["--listen", "127.0.0.1:70000"],
            ["--listen", "127.0.0.1:0", "--loops", "many"],
            ["--listen", "127.0.0.1:0", "--loops", "0"],
            ["--listen", "127.0.0.1:0", "--idle-timeout", "10 parsecs"],
            ["--listen", "127.0.0.1:0", "--queue-limit", "-1"],
            ["stray"],
        ):
            with self.subTest(arguments=arguments):
                code, output, errors = self.run_server(*arguments)
                self.assertEqual(code, 2, errors)
                self.assertEqual(output, b"")
                self.assertTrue(errors.startswith("error: "), errors)

    def test_client_wrong_usage_exits_with_2(self):
        for arguments in ([], ["nonsense"], ["127.0.0.1:70000"], ["127.0.0.1:1", "--timeout", "soon"]):
            with self.subTest(arguments=arguments):
                code, output, errors = self.run_client(*arguments)
                self.assertEqual((code, output), (2, b""), errors)

    def test_help_and_version_go_to_stdout(self):
        for program in ("echo-server", "echo-client"):
            for option, word in (("--help", "Usage"), ("--version", program)):
                with self.subTest(program=program, option=option):
                    code, output, errors = self.run_program([BINARIES / program, option])
                    self.assertEqual((code, errors), (0, ""))
                    self.assertIn(word, output.decode())

    def test_an_address_in_use_is_told_exactly(self):
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        for loops in ([], ["--loops", "2"]):
            with self.subTest(loops=loops):
                code, output, errors = self.run_server("--listen", address, *loops)
                self.assertEqual((code, output), (1, b""))
                self.assertEqual(errors.splitlines()[-1], f"error: cannot listen on {address}: address in use")

    def test_an_address_that_another_server_shares_is_in_use(self):
        for first in ("1", "2"):
            for second in ("1", "2"):
                with self.subTest(first=first, second=second):
                    server = self.serve("--loops", first)
                    address = f"127.0.0.1:{server.port}"
                    outcome = self.run_server("--listen", address, "--loops", second)
                    self.assert_cannot_run(outcome, rf"^error: cannot listen on {address}: address in use$")
                    server.stop()

    def test_a_port_is_free_again_at_once(self):
        server = self.serve()
        stream = self.connect(server)
        stream.sendall(b"x")
        self.assertEqual(stream.recv(1), b"x")
        server.stop()
        again = self.serve(listen=(f"127.0.0.1:{server.port}",))
        self.assertEqual(again.port, server.port)
        again.stop()

    def test_a_metrics_address_in_use_is_told(self):
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, _, errors = self.run_server("--listen", "127.0.0.1:0", "--metrics", address)
        self.assertEqual(code, 1)
        self.assertIn(address, errors.splitlines()[-1])

    def test_an_address_that_is_not_here_is_told(self):
        outcome = self.run_server("--listen", "192.0.2.1:9002")
        self.assert_cannot_run(outcome, r"cannot listen on 192\.0\.2\.1:9002: ")

    def test_a_missing_directory_is_told(self):
        path = os.path.join(self.temporary_directory(), "missing", "x.sock")
        outcome = self.run_server("--listen", f"unix:{path}")
        self.assert_cannot_run(outcome, f"cannot listen on unix:{path}: no such file or directory")

    def test_a_file_that_is_no_socket_stays(self):
        path = os.path.join(self.temporary_directory(), "file")
        with open(path, "w", encoding="ascii") as file:
            file.write("mine")
        self.assert_cannot_run(self.run_server("--listen", f"unix:{path}"), f"unix:{path}: ")
        with open(path, encoding="ascii") as file:
            self.assertEqual(file.read(), "mine")

    def test_a_unix_socket_in_use_is_told_and_a_stale_one_replaced(self):
        path = os.path.join(self.temporary_directory(), "x.sock")
        address = f"unix:{path}"
        server = self.serve(listen=(address,))
        self.assertEqual(server.addresses, [f"unix://{path}"])
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o660)
        self.assert_cannot_run(self.run_server("--listen", address), f"{address}: address in use")
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(path)
            stream.sendall(b"still there")
            self.assertEqual(receive(stream, 11), b"still there")
        server.process.kill()
        server.wait()
        self.assertTrue(os.path.exists(path))
        again = self.serve(listen=(address,))
        again.stop()
        self.assertFalse(os.path.exists(path), "the file goes at the end")

    def test_a_forbidden_port_is_told(self):
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as setting:
            lowest = int(setting.read())
        if lowest <= 1:
            self.skipTest("every user may listen on every port here")
        options = {}
        binary = BINARIES / "echo-server"
        if os.geteuid() == 0:
            # Somewhere that everybody may look into.
            directory = self.temporary_directory()
            os.chmod(directory, 0o755)
            binary = shutil.copy(binary, directory)
            options = {"user": 65534, "group": 65534, "extra_groups": []}
        address = f"127.0.0.1:{min(lowest, 1024) - 1}"
        outcome = self.run_program([binary, "--listen", address], **options)
        self.assert_cannot_run(outcome, f"^error: cannot listen on {address}: permission denied$")

    def test_no_descriptors_at_all_are_told(self):
        script = f"ulimit -n 5; exec '{BINARIES / 'echo-server'}' --listen 127.0.0.1:0"
        code, output, errors = self.run_program(["bash", "-c", script])
        self.assertEqual((code, output), (1, b""), errors)
        self.assertRegex(errors.splitlines()[-1], "^error: ")

    def test_several_listeners_are_told_in_order_and_all_serve(self):
        path = os.path.join(self.temporary_directory(), "x.sock")
        server = self.serve(listen=("127.0.0.1:0", f"unix:{path}", "udp:127.0.0.1:0", "[::1]:0"))
        schemes = [address.partition("://")[0] for address in server.addresses]
        self.assertEqual(schemes, ["tcp", "unix", "udp", "tcp"])
        for index in (0, 3):
            stream = self.connect(server, index=index)
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
        until(server.lives, "it serves on")
        server.stop()


if __name__ == "__main__":
    unittest.main()
