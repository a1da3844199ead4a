"""`--trace` and `--stall`: what the file holds, when it is written, and what is told of it."""

import collections
import json
import os
import re
import signal
import stat
import subprocess
import threading

from server import BINARIES, InteropTest, receive, receive_all, until


class Trace(InteropTest):
    def file(self, name):
        return os.path.join(self.temporary_directory(), name)

    def serve_traced(self, path, *arguments):
        return self.serve("--trace", path, *arguments)

    def talk(self, server, message=b"hello"):
        stream = self.connect(server)
        stream.sendall(message)
        self.assertEqual(receive(stream, len(message)), message)
        return stream

    def hang_up(self, stream):
        stream.shutdown(1)
        self.assertEqual(receive_all(stream), b"")
        stream.close()

    def traced(self, name, *arguments):
        """The text of a trace of one conversation, written at the end."""
        path = self.file(name)
        server = self.serve_traced(path, *arguments)
        self.hang_up(self.talk(server))
        server.stop()
        self.assertEqual(os.listdir(os.path.dirname(path)), [name], "nothing is left beside it")
        with open(path, encoding="utf-8") as file:
            return file.read()

    def assert_slices_nest(self, events):
        """On each track a slice lies wholly in the one that it begins in. How many there are."""
        tracks = collections.defaultdict(list)
        for event in events:
            if event["ph"] == "X":
                # In whole nanoseconds: sums of decimals would not compare.
                begin, lasts = round(event["ts"] * 1000), round(event["dur"] * 1000)
                tracks[event["pid"], event["tid"]].append((begin, begin + lasts, event["name"]))
        depths = collections.Counter()
        for slices in tracks.values():
            within = []
            last = 0
            for begin, end, name in slices:
                self.assertGreaterEqual(begin, last, "in the order in which they begin")
                last = begin
                # What has no length may lie at the very end of what it belongs to.
                while within and (within[-1][1] < begin or within[-1][1] == begin < end):
                    within.pop()
                if within:
                    self.assertLessEqual(end, within[-1][1], f"{name} reaches out of {within[-1][2]}")
                within.append((begin, end, name))
                depths[len(within)] += 1
        self.assertGreater(depths[3], 0, "callbacks and calls lie in phases, which lie in turns")
        return sum(depths.values())

    def test_chrome_nests_on_each_track_and_counts(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                events = json.loads(self.traced("x.json", "--loops", loops))["traceEvents"]
                self.assertGreater(self.assert_slices_nest(events), 20)
                slices = {event["name"] for event in events if event["ph"] == "X"}
                self.assertLessEqual({"turn", "wait", "accept", "receive", "reap"}, slices)
                self.assertLessEqual({"on_open", "on_data", "on_eof", "on_close", "read", "write", "finish"}, slices)
                named = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
                self.assertEqual(named, {number + 1: f"loop {number}" for number in range(int(loops))})
                self.assertEqual({event["tid"] for event in events}, set(named))
                counters = {event["name"] for event in events if event["ph"] == "C"}
                for number in range(int(loops)):
                    self.assertIn(f"loop {number}: queued bytes", counters)
                    self.assertIn(f"loop {number}: ready connections", counters)
                data = next(event for event in events if event["name"] == "on_data")
                self.assertRegex(data["args"]["about"], r"^connection \d+\.\d+(@\d+)?$")

    def test_a_line_of_json_is_a_record(self):
        records = [json.loads(line) for line in self.traced("x.jsonl").splitlines()]
        at = [record["at"] for record in records]
        self.assertEqual(at, sorted(at))
        self.assertEqual({record["loop"] for record in records}, {0})
        read = next(record for record in records if record["event"] == "read" and record.get("result") == 5)
        self.assertEqual(read["about"], "connection 0.1")
        began = [record for record in records if record["event"] == "callback_began"]
        ended = [record for record in records if record["event"] == "callback_ended"]
        self.assertEqual(len(began), len(ended))
        self.assertEqual(records[-1]["event"], "turn_ended")

    def test_sentences_tell_a_conversation_in_order(self):
        text = self.traced("x.txt")
        self.assertTrue(text.startswith("loop 0: "), text[:100])
        story = (
            r"accepted a client at listener 0\.1 \(",
            r"on_open of connection 0\.1, took ",
            r"connection 0\.1 is readable",
            r"  receive, took ",
            r"    read 5 bytes from connection 0\.1 \(",
            r"    on_data of connection 0\.1, took ",
            r"      queued 5 bytes for connection 0\.1: 5 to write",
            r"    wrote 5 bytes to connection 0\.1 \(",
            r"    read the end of connection 0\.1 \(",
            r"connection 0\.1 closes: the peer finished",
            r"    sent FIN to connection 0\.1",
            r"on_close of connection 0\.1, took ",
            r"SIGTERM has arrived",
            r"the loop is asked to stop, within 10 s",
            r"the loop has stopped",
        )
        self.assertRegex(text, re.compile(".*".join(story), re.DOTALL))

    def test_a_signal_writes_while_it_runs_all_loops(self):
        for loops in ("1", "2"):
            with self.subTest(loops=loops):
                path = self.file("x.json")
                server = self.serve_traced(path, "--loops", loops)
                self.assertEqual(os.stat(path).st_size, 0, "it is created at the start")
                streams = [self.talk(server) for _ in range(20)]
                for times in (1, 2):
                    server.signal(signal.SIGUSR1)
                    told = f"SIGUSR1: the trace is written to {path}"
                    until(lambda: server.errors().count(told) == times, told)
                    with open(path, encoding="utf-8") as file:
                        events = json.load(file)["traceEvents"]
                    self.assert_slices_nest(events)
                    names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
                    self.assertEqual(names, {f"loop {number}" for number in range(int(loops))})
                    self.assertEqual(sum(event["name"] == "on_open" for event in events), 20)
                for stream in streams:
                    self.hang_up(stream)
                server.stop()
                self.assertNotIn("there is no trace to write", server.errors())

    def test_a_ring_that_has_gone_round_still_nests(self):
        path = self.file("x.json")
        server = self.serve_traced(path)
        stream = self.connect(server)
        for _ in range(9000):
            stream.sendall(b"x")
            self.assertEqual(stream.recv(1), b"x")
        self.hang_up(stream)
        server.stop()
        with open(path, encoding="utf-8") as file:
            events = json.load(file)["traceEvents"]
        self.assert_slices_nest(events)
        turns = [event["args"]["turn"] for event in events if event["name"] == "turn"]
        self.assertGreater(turns[0], 1, "older turns are overwritten")
        self.assertEqual(turns, list(range(turns[0], turns[-1] + 1)), "none is missing in between")

    def test_a_stalled_turn_is_told_with_whom_to_blame_and_written(self):
        path = self.file("x.txt")
        # Whatever a turn does takes longer than this.
        server = self.serve_traced(path, "--stall", "1us")
        stream = self.talk(server)
        blame = re.compile(r"turn \d+ of loop 0 took \S+, on_data of connection 0\.1 alone \S+")
        until(lambda: blame.search(server.errors()), "the stall is told")
        until(lambda: f"the trace is written to {path}" in server.errors(), "the trace is written")
        with open(path, encoding="utf-8") as file:
            self.assertIn("the turn stalled: its work took ", file.read())
        self.hang_up(stream)
        server.stop()

    def test_a_stall_without_a_trace_is_logged_alone(self):
        server = self.serve("--stall", "1us")
        stream = self.talk(server)
        until(lambda: "on_data of connection 0.1 alone" in server.errors(), "the stall is told")
        self.assertNotIn("the trace is written", server.errors())
        self.hang_up(stream)
        server.stop()

    def test_nothing_stalls_within_a_long_time_or_without_being_asked(self):
        for arguments in ((), ("--stall", "60s"), ("--stall", "0")):
            with self.subTest(arguments=arguments):
                server = self.serve(*arguments)
                self.hang_up(self.talk(server))
                server.stop()
                self.assertNotRegex(server.errors(), r"turn \d+ of loop")

    def assert_refused(self, code, path, line, *arguments):
        got, output, errors = self.run_program(
            [BINARIES / "echo-server", "--listen", "127.0.0.1:0", "--trace", path, *arguments]
        )
        self.assertEqual((got, output, errors), (code, b"", f"error: {line}\n"))

    def test_another_ending_is_wrong_usage(self):
        for name in ("x", "x.xml", "x.json.gz", ".json"):
            with self.subTest(name=name):
                path = self.file(name)
                self.assert_refused(2, path, f"the trace file {path} must end in .json, .jsonl or .txt")
                self.assertFalse(os.path.exists(path))

    def test_what_cannot_be_written_is_told_before_the_server_is_ready(self):
        folder = self.temporary_directory()
        missing = os.path.join(folder, "missing", "x.json")
        self.assert_refused(1, missing, f"cannot write the trace to {missing}: no such file or directory")
        directory = os.path.join(folder, "x.json")
        os.mkdir(directory)
        self.assert_refused(1, directory, f"cannot write the trace to {directory}: is a directory")
        pipe = os.path.join(folder, "pipe.txt")
        os.mkfifo(pipe)
        code, _, errors = self.run_program([BINARIES / "echo-server", "--trace", pipe])
        self.assertEqual(code, 1)
        self.assertEqual(errors, f"error: cannot write the trace to {pipe}: nobody reads it\n")

    def test_permission_denied_is_told(self):
        # Not even root makes files there.
        path = "/sys/x.json"
        self.assert_refused(1, path, f"cannot write the trace to {path}: permission denied")

    def test_a_pipe_is_written_into(self):
        pipe = self.file("x.jsonl")
        os.mkfifo(pipe)
        parts = []

        def read():
            with open(pipe, encoding="utf-8") as file:
                parts.append(file.read())

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        # A writer that is open lets the reader in, whoever is first.
        first = os.open(pipe, os.O_WRONLY)
        server = self.serve_traced(pipe)
        os.close(first)
        self.hang_up(self.talk(server))
        server.stop()
        reader.join(60)
        self.assertTrue(stat.S_ISFIFO(os.stat(pipe).st_mode))
        records = [json.loads(line) for line in parts[0].splitlines()]
        self.assertIn("on_data", {record.get("callback") for record in records})

    def test_a_wrong_stall_is_wrong_usage(self):
        done = subprocess.run(
            [BINARIES / "echo-server", "--stall", "10"], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("--stall", done.stderr)
