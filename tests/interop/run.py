#!/usr/bin/env python3
"""Runs every test here (or those whose names are given) and ends with a line that counts them."""

import pathlib
import sys
import unittest


def main():
    sys.dont_write_bytecode = True
    here = pathlib.Path(__file__).resolve().parent
    sys.path.insert(0, str(here))
    loader = unittest.TestLoader()
    names = sys.argv[1:]
    suite = loader.loadTestsFromNames(names) if names else loader.discover(str(here))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    bad = [test for test, _ in result.failures + result.errors] + result.unexpectedSuccesses
    # Several parts of one test may fail, and it is one test all the same.
    failed = len({getattr(test, "test_case", test).id() for test in bad})
    passed = max(0, result.testsRun - failed - len(result.skipped) - len(result.expectedFailures))
    print(f"{passed} passed, {failed} failed", flush=True)
    return 0 if result.wasSuccessful() and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
