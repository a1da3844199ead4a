"""Programs of others as clients: nc, socat, and Python's sockets."""

import os
import random
import select
import socket
import subprocess
import unittest

from server import PATIENCE, InteropTest, receive_all

TEXT = b"hello\nworld\n"


class Programs(InteropTest):
    def unix_server(self, *arguments):
        path = os.path.join(self.temporary_directory(), "x.sock")
        return self.serve(*arguments, listen=(f"unix:{path}",)), path

    def assert_prints(self, command, input=TEXT, expected=None):
        code, output, errors = self.run_program(command, input)
        self.assertEqual(code, 0, errors)
        self.assert_same_bytes(output, input if expected is None else expected)

    def assert_converses(self, command, parts):
        """A program without an end of its own: what it is told, it prints, part by part."""
        child = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        try:
            for part in parts:
                child.stdin.write(part)
                got = b""
                while len(got) < len(part):
                    self.assertTrue(select.select([child.stdout], [], [], PATIENCE)[0], part)
                    got += os.read(child.stdout.fileno(), 65536)
                self.assertEqual(got, part)
        finally:
            child.kill()
            child.wait()
            child.stdin.close()
            child.stdout.close()

    def test_netcat_over_tcp(self):
        self.need("nc")
        server = self.serve()
        self.assert_prints(["nc", "-N", "127.0.0.1", server.port])
        self.assert_prints(["nc", "-N", "127.0.0.1", server.port], b"")
        self.assert_prints(["nc", "-N", "127.0.0.1", server.port], random.Random(1).randbytes(3 << 20))
        server.stop()

    def test_netcat_over_a_unix_socket(self):
        self.need("nc")
        server, path = self.unix_server()
        self.assert_prints(["nc", "-N", "-U", path])
        self.assert_prints(["nc", "-N", "-U", path], random.Random(2).randbytes(3 << 20))
        server.stop()

    def test_netcat_over_udp(self):
        self.need("nc")
        server = self.serve(listen=("udp:127.0.0.1:0",))
        self.assert_converses(["nc", "-u", "127.0.0.1", server.port], [b"hello\n", b"world\n", b"\0\xff"])
        server.stop()

    def test_netcat_over_ipv6(self):
        self.need("nc")
        server = self.serve(listen=("[::1]:0",))
        self.assertRegex(server.addresses[0], r"^tcp://\[::1\]:\d+$")
        self.assert_prints(["nc", "-N", "-6", "::1", server.port])
        server.stop()

    def test_socat_over_tcp(self):
        self.need("socat")
        server = self.serve()
        content = random.Random(3).randbytes(1 << 20)
        self.assert_prints(["socat", "-t", PATIENCE, "-", f"TCP:127.0.0.1:{server.port}"], content)
        server.stop()

    def test_socat_over_a_unix_socket(self):
        self.need("socat")
        server, path = self.unix_server()
        content = random.Random(4).randbytes(1 << 20)
        self.assert_prints(["socat", "-t", PATIENCE, "-", f"UNIX-CONNECT:{path}"], content)
        server.stop()

    def test_socat_over_udp(self):
        self.need("socat")
        server = self.serve(listen=("udp:127.0.0.1:0",))
        self.assert_converses(["socat", "-", f"UDP:127.0.0.1:{server.port}"], [b"hello\n", b"world\n"])
        server.stop()

    def test_ipv6_and_both_at_once(self):
        for listen, hosts in (("[::1]:0", ["::1"]), ("[::]:0", ["::1", "127.0.0.1"])):
            server = self.serve(listen=(listen,))
            for host in hosts:
                with self.subTest(listen=listen, host=host):
                    with socket.create_connection((host, server.port), timeout=PATIENCE) as stream:
                        stream.sendall(TEXT)
                        stream.shutdown(socket.SHUT_WR)
                        self.assertEqual(receive_all(stream), TEXT)
            server.stop()

    def test_datagrams_of_every_size_the_empty_one_too(self):
        for listen in ("udp:127.0.0.1:0", "udp:[::1]:0"):
            server = self.serve(listen=(listen,))
            host, port = server.host_and_port()
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.connect((host, port))
                for size in (0, 1, 512, 1472, 9000, 65507):
                    with self.subTest(listen=listen, size=size):
                        datagram = random.Random(size).randbytes(size)
                        client.send(datagram)
                        self.assert_same_bytes(client.recv(65536), datagram)
            server.stop()

    def test_datagrams_of_many_senders_find_their_way_back(self):
        server = self.serve(listen=("udp:127.0.0.1:0",))
        clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
        for number, client in enumerate(clients):
            self.addCleanup(client.close)
            client.settimeout(PATIENCE)
            client.connect(server.host_and_port())
            client.send(b"%d" % number)
        for number, client in enumerate(clients):
            self.assertEqual(client.recv(64), b"%d" % number)
        server.stop()

    def test_datagrams_do_not_disturb_streams(self):
        server = self.serve(listen=("127.0.0.1:0", "udp:127.0.0.1:0"))
        stream = self.connect(server)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(server.host_and_port(1))
            for number in range(100):
                client.send(b"d%d" % number)
                stream.sendall(b"s%d" % number)
                self.assertEqual(client.recv(64), b"d%d" % number)
                self.assertEqual(stream.recv(64), b"s%d" % number)
        stream.close()
        server.stop()


if __name__ == "__main__":
    unittest.main()
