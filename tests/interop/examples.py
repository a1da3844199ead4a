"""The examples of the library, spoken to by nc. Not found by discovery: they are built without --release."""

import select
import subprocess
import unittest

from server import PATIENCE, TARGET, ROOT, InteropTest, Program, until

EXAMPLES = ROOT / TARGET / "debug" / "examples"


class Examples(InteropTest):
    def setUp(self):
        self.need("nc")

    def start(self, name, **options):
        """An example that is ready, and its port."""
        program = Program(self, [EXAMPLES / name, "127.0.0.1:0"], **options)
        self.assertTrue(select.select([program.process.stdout], [], [], PATIENCE)[0], "it is ready")
        line = program.process.stdout.readline().decode()
        self.assertRegex(line, r"^listening on 127\.0\.0\.1:\d+$")
        return program, int(line.rpartition(":")[2])

    def assert_echoes(self, port):
        for said in (b"hello\nworld\n", b"", bytes(range(256)) * 4096):
            code, output, errors = self.run_program(["nc", "-N", "127.0.0.1", port], said)
            self.assertEqual(code, 0, errors)
            self.assert_same_bytes(output, said)

    def test_selectors_echo(self):
        program, port = self.start("selectors_echo")
        self.assert_echoes(port)
        self.assertTrue(program.lives())

    def test_embedded(self):
        program, port = self.start("embedded", stdin=subprocess.PIPE, bufsize=0)
        self.assert_echoes(port)
        program.process.stdin.close()
        self.assertEqual(program.wait(), 0)
        self.assertIn(b"stopped: ", until(program.process.stdout.read, "it tells how it stopped"))


if __name__ == "__main__":
    unittest.main()
