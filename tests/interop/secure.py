"""TLS for the tests: certificates by the openssl command, and a client that chooses what each segment holds."""

import os
import select
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from server import PATIENCE, InteropTest, until

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = (TLS12, TLS13)


class Certificates:
    """An authority, and what it signs, in a directory."""

    def __init__(self, directory):
        self.directory = directory
        self.authority("ca")

    def path(self, name):
        return os.path.join(self.directory, name)

    def run(self, *arguments):
        result = subprocess.run(
            ["openssl", *map(str, arguments)], capture_output=True, cwd=self.directory, timeout=PATIENCE
        )
        if result.returncode != 0:
            raise AssertionError(f"openssl {arguments}: {result.stderr.decode()}")
        return result.stdout

    def authority(self, name):
        self.run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/CN=test {name}", "-keyout", f"{name}-key.pem", "-out", f"{name}.pem",
        )  # fmt: skip
        return self.path(f"{name}.pem")

    def issue(self, name, key="ec", days=30, names="DNS:localhost,IP:127.0.0.1,IP:::1", ca="ca", client=False):
        """A certificate and its key: the paths of both."""
        kind = ["rsa:2048"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        self.run(
            "req", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}-key.pem", "-out", f"{name}.csr",
        )  # fmt: skip
        with open(self.path(f"{name}.ext"), "w", encoding="ascii") as extensions:
            usage = "clientAuth" if client else "serverAuth"
            extensions.write(f"basicConstraints=CA:FALSE\nextendedKeyUsage={usage}\n")
            if not client:
                extensions.write(f"subjectAltName={names}\n")
        dates = ["-days", str(days)]
        self.run(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}-key.pem", "-CAcreateserial",
            "-out", f"{name}.pem", "-extfile", f"{name}.ext", *dates,
        )  # fmt: skip
        return self.path(f"{name}.pem"), self.path(f"{name}-key.pem")


def serial_of(der):
    """The number of a certificate."""
    pem = ssl.DER_cert_to_PEM_cert(der)
    output = subprocess.run(
        ["openssl", "x509", "-noout", "-serial"], input=pem.encode(), capture_output=True, check=True
    )
    return output.stdout.strip()


def client_context(authority, version=None, identity=None):
    context = ssl.create_default_context(cafile=authority)
    if version:
        context.minimum_version = context.maximum_version = version
    if identity:
        context.load_cert_chain(*identity)
    return context


def server_context(identity, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*identity)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


class Peer:
    """A TLS client over memory: what it has to say is written when, and in the pieces, that the test likes."""

    def __init__(self, stream, context, name="localhost", session=None):
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name, session=session)
        self.got = bytearray()
        self.ended = None

    def take_outgoing(self):
        return self.outgoing.read()

    def write_out(self, piece=None):
        """All that there is to say, in pieces of so many bytes."""
        content = self.take_outgoing()
        size = piece or len(content) or 1
        for begin in range(0, len(content), size):
            self.stream.sendall(content[begin : begin + size])

    def read_in(self):
        """What comes next. Whether it was the end."""
        content = self.stream.recv(262144)
        if content:
            self.incoming.write(content)
        else:
            self.incoming.write_eof()
        return not content

    def begin(self):
        """As far as nothing need be heard: the first message is ready to be sent."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass

    def shake_hands(self, piece=None, hold_last=False):
        """To the end. With `hold_last` the last flight is not written: it leaves with what follows."""
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.write_out(piece)
                if self.read_in():
                    raise AssertionError("the server hung up in the handshake") from None
        if not hold_last:
            self.write_out(piece)

    def read_plain(self):
        """What is there to be read. `ended` says how it ended, if it did."""
        while self.ended is None:
            try:
                part = self.tls.read(262144)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLEOFError:
                self.ended = "cut off"
                return
            if not part:
                self.ended = "close_notify"
                return
            self.got += part

    def receive(self, count):
        """So many bytes of plaintext."""
        self.read_plain()
        while len(self.got) < count and self.ended is None:
            self.read_in()
            self.read_plain()
        content, self.got = bytes(self.got[:count]), self.got[count:]
        return content

    def receive_end(self):
        """All that is still to come, how it ended, and whether FIN followed."""
        is_over = False
        while not is_over:
            is_over = self.read_in()
            self.read_plain()
        return bytes(self.got), self.ended

    def round_trip(self, content):
        self.tls.write(content)
        self.write_out()
        return self.receive(len(content)) == content

    def exchange(self, content, pause):
        """Sends all and gets as much back. If `pause`, nothing is read until nothing more can be written."""
        view, cipher = memoryview(content), b""
        self.stream.setblocking(False)
        reads = not pause
        deadline = time.monotonic() + 2 * PATIENCE
        while len(self.got) < len(content):
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.got)} of {len(content)} bytes came back")
            if not cipher and view:
                self.tls.write(view[:65536])
                view = view[65536:]
                cipher = self.take_outgoing()
            wants = ([self.stream] if reads else [], [self.stream] if cipher else [], [])
            readable, writable, _ = select.select(*wants, 0.3 if cipher and not reads else 10)
            if writable:
                cipher = cipher[self.stream.send(cipher) :]
            elif not reads:
                reads = True  # it is stuck, or all is written
            if not cipher and not view:
                reads = True
            if readable:
                if self.read_in():
                    raise AssertionError(f"the end after {len(self.got)} of {len(content)} bytes")
                self.read_plain()
        self.stream.settimeout(PATIENCE)
        got, self.got = bytes(self.got), bytearray()
        return got


class Beside(threading.Thread):
    """An honest connection that talks all the while; nothing that others do is to disturb it."""

    def __init__(self, peer):
        super().__init__(daemon=True)
        self.peer = peer
        self.trips = 0
        self.error = None
        self.stopped = threading.Event()
        self.start()

    def run(self):
        try:
            while not self.stopped.is_set():
                if not self.peer.round_trip(b"honest %d" % self.trips):
                    raise AssertionError(f"cut off after {self.trips} round trips")
                self.trips += 1
                self.stopped.wait(0.05)
        except Exception as error:  # whatever it is, the test tells it
            self.error = error

    def end(self):
        """At least one round trip more, and no complaint."""
        seen = self.trips
        until(lambda: self.error or self.trips > seen, "the connection beside goes on")
        self.stopped.set()
        self.join(PATIENCE)
        self.peer.stream.close()
        if self.error:
            raise self.error


class SecureTest(InteropTest):
    """A test with certificates of its own."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if not shutil.which("openssl"):
            raise unittest.SkipTest("openssl is not installed")
        directory = tempfile.mkdtemp(prefix="interop-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.certificates = Certificates(directory)
        cls.authority = cls.certificates.path("ca.pem")
        cls.identity = cls.certificates.issue("server")

    def serve_tls(self, *arguments, identity=None, **options):
        certificate, key = identity or self.identity
        server = self.serve("--tls", "--cert", certificate, "--key", key, *arguments, **options)
        if "listen" not in options:
            self.assertTrue(server.ready[0].startswith("listening on tls://"), server.ready)
        return server

    def peer(self, server, version=None, session=None, identity=None, context=None, **options):
        """A client that has not said anything."""
        stream = self.connect(server, **options)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = context or client_context(self.authority, version, identity)
        return Peer(stream, context, session=session)

    def secure(self, server, version=None, **options):
        """A client whose handshake is over."""
        peer = self.peer(server, version, **options)
        peer.shake_hands()
        return peer

    def beside(self, server):
        return Beside(self.secure(server))
