"""The metrics page, as curl sees it."""

import re
import time
import unittest

from server import InteropTest


# Scrapers that may be connected at a time.
PLACES = 32


class Metrics(InteropTest):
    def setUp(self):
        self.need("curl")

    def fetch(self, url, *options):
        """Status, headers (one text, in lower case) and body."""
        code, output, errors = self.run_program(["curl", "-sS", "-i", "--max-time", "60", *options, url])
        self.assertEqual(code, 0, errors)
        head, _, body = output.decode().partition("\r\n\r\n")
        return int(head.split()[1]), head.lower(), body

    def serve_with_page(self, *arguments):
        server = self.serve(*arguments, "--metrics", "127.0.0.1:0", ready=2)
        self.assertRegex(server.ready[-1], "^listening on http://", "the page's line comes last")
        return server, server.addresses[-1].rstrip("/")

    def test_the_page_counts_what_happened(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                server, root = self.serve_with_page("--loops", loops)
                streams = [self.connect(server) for _ in range(3)]
                for stream in streams:
                    stream.sendall(b"x" * 1000)
                    got = 0
                    while got < 1000:
                        got += len(stream.recv(1000))
                status, head, body = self.fetch(f"{root}/metrics")
                self.assertEqual(status, 200)
                self.assertIn("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8", head)
                self.assertTrue(body.endswith("# EOF\n"), body[-200:])
                # The one who asks is a connection too.
                self.assertIn(total(body, "connections_accepted"), (3, 4))
                self.assertIn(total(body, "connections_open"), (3, 4))
                self.assertGreaterEqual(total(body, "received_bytes"), 3000)
                self.assertGreaterEqual(total(body, "sent_bytes"), 3000)
                self.assertGreater(total(body, "turns"), 0)
                self.assertEqual(total(body, "loops"), int(loops))
                for name in ("connections_refused", "accept_pauses", "panics", "queued_bytes", "datagrams_dropped"):
                    self.assertEqual(total(body, name), 0, name)
                for stream in streams:
                    stream.close()
                server.stop()

    def test_elsewhere_there_is_nothing(self):
        server, root = self.serve_with_page()
        for path in ("/", "/metric", "/metrics/more", "/../etc/passwd"):
            with self.subTest(path=path):
                self.assertEqual(self.fetch(root + path, "--path-as-is")[0], 404)
        self.assertEqual(self.fetch(root + "/metrics?what=ever")[0], 200)
        self.assertEqual(self.fetch(root + "/metrics", "--head")[0], 200)
        self.assertIn(self.fetch(root + "/metrics", "--data", "x=y")[0], (404, 405))
        server.stop()

    def test_the_page_is_there_many_times_over(self):
        server, root = self.serve_with_page()
        urls = [f"{root}/metrics"] * 50
        code, output, errors = self.run_program(["curl", "-sS", "--max-time", "60", *urls])
        self.assertEqual(code, 0, errors)
        self.assertEqual(output.count(b"# EOF\n"), 50)
        server.stop()

    def test_scrapers_that_say_nothing_do_not_keep_others_out(self):
        server, root = self.serve_with_page()
        silent = [self.connect(server, index=-1) for _ in range(2 * PLACES)]
        began = time.monotonic()
        self.assertEqual(self.fetch(root + "/metrics")[0], 200)
        # Two rounds of those who came before, 2 s each, and room for a slow machine.
        self.assertLess(time.monotonic() - began, 9.0)
        for stream in silent:
            stream.close()
        server.stop()


def total(page, name):
    """The sum over all label sets of the metric whose name ends so; None if there is none."""
    pattern = rf"^\w+_{name}(?:_total)?(?:\{{[^}}]*\}})? ([0-9.e+]+)$"
    numbers = re.findall(pattern, page, re.MULTILINE)
    return sum(float(number) for number in numbers) if numbers else None


if __name__ == "__main__":
    unittest.main()
