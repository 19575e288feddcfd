"""``perf trace``: live or from a file, with and without commands, threads and absolute times.

A call is one line, printed when it has ended: it enters at the line's time and exits after the duration in parentheses.
One that something else interrupts is printed with ``...`` (its enter), and its exit as ``[continued]``; so is an exit
whose enter was lost, and its time is ``?`` where the thread had entered nothing before. Page faults and other events
are instants.

Losses: ``LOST n events!`` stands among the lines, wherever they go (stderr, or the file of ``-o``), before the next
line that the same buffer gave. Whether the first thing behind the loss was that line's enter or its exit isn't told:
it is put into the longer of the two silences; of several in a row the last must lie inside the call, because between
two of them an enter was read. When perf trace prints a recorded file (``-i``) it prints no such line, only how many
losses there were (chunks), at the end and on stderr.

Several buffers (``-a``) are printed one after the other, so that times run back and forth; no cpu is told.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.rows import LATEST_NS, Rows, nanoseconds
from tracemend.formats.text import LOOKED_AT, decode
from tracemend.trace.events import ENTER, EXIT, INSTANT, Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced
from tracemend.trace.syscalls import call_name, canonical

#: Milliseconds, the duration, whose it is. A command can have spaces and slashes.
HEAD = re.compile(
    rb"\s*+(?P<time>\?|\d{1,13}\.\d{3}) \(\s*(?:(?P<took>\d{1,13}\.\d{3}) ms)?\s*\): "
    rb"(?:(?:(?P<comm>[^(]{1,32}?)/)?(?P<tid>\d{1,9}) )?"
)
#: What a thread did: a call that is over (perf prints no result of getppid), one that isn't yet, an exit alone, a page
#: fault, any other event.
CONTINUED = re.compile(rb" ?\.\.\. \[continued\]: (?P<name>\w+)\(\)\)?\s*(?:= (?P<ret>.*))?$")
CALL = re.compile(rb"(?P<name>[a-z_]\w*)\((?P<args>.*)\)\s*= ?(?P<ret>\S.*)?$")
UNFINISHED = re.compile(rb"(?P<name>[a-z_]\w*)\((?P<args>.*)\.\.\.$")
FAULT = re.compile(rb"(?P<name>m(?:aj|in)fault) (?P<args>.*)")
EVENT = re.compile(rb"(?:[\w-]+:)*(?P<name>[\w-]+)(?:\((?P<args>.*)\)|: ?(?P<text>.*))?$")
LOST = re.compile(rb"LOST (\d+) events!$")
CHUNKS = re.compile(rb"Processed \d{1,18} events and lost (\d{1,18}) chunks!")
#: Colours that perf writes to a terminal.
COLOUR = re.compile(rb"\x1b\[[\d;]*m")
#: Blank lines, frames of call chains, the first lines of a summary, perf's and its workload's words about themselves.
SILENT = re.compile(rb"\s*$|\s{20,}\S|Check IO/CPU overload|Warning:|\[ perf |#")
SUMMARY = re.compile(rb" Summary of events:|   syscall +calls ")
NUMBER = re.compile(rb"id: (-?\d{1,9})\b")

#: A time and a duration are rounded each on its own, to a microsecond: so far an exit can seem to lie behind the same
#: thread's next enter.
ROUNDING_NS = 2_000


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is a call's or an event's, or a mark."""
    looked = 0
    for line in COLOUR.sub(b"", head).splitlines():
        at = HEAD.match(line)
        if LOST.match(line) or (at and _what(line, at.end())):
            return True
        looked += not SILENT.match(line)
        if looked > LOOKED_AT:
            break
    return False


def _what(text: bytes, at: int) -> re.Match[bytes] | None:
    for pattern in (CALL, UNFINISHED, CONTINUED, FAULT, EVENT):
        found = pattern.match(text, at)
        if found:
            return found
    return None


class _Reader:
    """The state between lines: the threads' last times, losses that wait for the line behind them."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.rows = Rows(builder)
        self.marks: list[Mark] = []
        self.waiting: list[tuple[int | None, int]] = []  # counts and lines
        self.left: dict[int, int] = {}  # when each thread left its last call
        self.now = 0
        self.untimed = 0  # rows in front of the first time
        self.summary = False

    def line(self, line: int, text: bytes) -> None:
        head = HEAD.match(text)
        found = _what(text, head.end()) if head else None
        if head is None or found is None:
            self._other(line, text)
            return
        time = self.now if head["time"] == b"?" else nanoseconds(head["time"], 6)
        took = nanoseconds(head["took"] or b"0", 6)
        if time + took > LATEST_NS:
            self.builder.bad(line, "the time is beyond what 64 bits of nanoseconds hold")
            return
        if head["time"] == b"?" and not self.now:
            self.untimed = len(self.rows) + 1
        comm = -1 if head["comm"] is None else self.builder.comms(decode(head["comm"]))
        self._event(found, (time, took), (int(head["tid"] or -1), comm), line)

    def _event(self, found: re.Match[bytes], times: tuple[int, int], who: tuple[int, int], line: int) -> None:
        """Add the rows of a line; ``times``: its time and duration, ``who``: thread and command."""
        (time, took), (tid, comm) = times, who
        left = self.left.get(tid, 0)
        if time < left <= time + ROUNDING_NS:
            time = left
        leaves = max(left, time + took)
        name = decode(found["name"])
        args = found.groupdict().get("args")
        if found.re is UNFINISHED:
            args = found["args"].rstrip().removesuffix(b")")
        held = None if args is None else decode(args)
        ret = None if found.re not in (CALL, CONTINUED) or found["ret"] is None else decode(found["ret"])
        phase = INSTANT
        if found.re is EVENT:
            name, phase = _tracepoint(name, args or b"", self.builder.options.arch)
            held = held if held is not None or found["text"] is None else decode(found["text"])
        code = self.builder.names(canonical(name))
        enters = found.re in (CALL, UNFINISHED)
        self._place(time, leaves if found.re is not UNFINISHED else None, enters)
        if enters:
            self.rows.found.append((time, -1, tid, comm, code, ENTER, held, None, line))
        if found.re in (CALL, CONTINUED):
            self.rows.found.append((leaves, -1, tid, comm, code, EXIT, None, ret, line))
            self.left[tid] = leaves
        elif not enters:
            self.rows.found.append((time, -1, tid, comm, code, phase, held, None, line))
        self.now = max(time, leaves) if found.re is not UNFINISHED else time

    def _place(self, enters_at: int, leaves_at: int | None, call: bool) -> None:
        """Put what was lost in front of the line's first event or, behind its enter, in front of the next one."""
        before, inside = enters_at - self.now, (leaves_at - enters_at if leaves_at is not None else 0)
        for k, (count, line) in enumerate(self.waiting):
            behind = call and (leaves_at is None or before < 0 or inside > before)
            behind = behind or (call and len(self.waiting) > 1 and k == len(self.waiting) - 1)
            self.marks.append(Mark(-1, len(self.rows) + behind, count, line))
        self.waiting = []

    def _other(self, line: int, text: bytes) -> None:
        lost, chunked = LOST.match(text), CHUNKS.match(text)
        if lost:
            self.waiting.append((self.builder.count(line, lost[1]), line))
        elif chunked:
            said = f"perf says that it lost {int(chunked[1]):,} chunks of events"
            self.builder.unplaced.append(Unplaced(said, int(chunked[1]), "chunks", line=line))
        elif SUMMARY.match(text):
            self.summary = True
        elif not self.summary and not SILENT.match(text):
            self.builder.bad(line, f"no line of perf trace: {decode(text[:80])!r}")

    def finish(self) -> None:
        end = len(self.rows)
        marks = [replace(m, row=min(m.row, end)) for m in self.marks]
        marks += [Mark(-1, end, count, line) for count, line in self.waiting]
        numbers = self.rows.numbers()
        if 0 < self.untimed < end:
            numbers[0, : self.untimed] = numbers[0, self.untimed]
        self.rows.finish(numbers, marks)


def _tracepoint(name: str, args: bytes, arch: str) -> tuple[str, int]:
    """Name and phase of an event that isn't one of perf trace's own calls."""
    raw = NUMBER.match(args)
    if name in ("sys_enter", "sys_exit") and raw:
        return call_name(int(raw[1]), arch), ENTER if name == "sys_enter" else EXIT
    for prefix, phase in (("sys_enter_", ENTER), ("sys_exit_", EXIT)):
        if name.startswith(prefix):
            return name.removeprefix(prefix), phase
    return name, INSTANT


def read(path: Path, options: Options) -> Trace:
    """Read perf trace's text; raises TraceError."""
    builder = Builder(path, "perf-trace", options)
    reader = _Reader(builder)
    for line, text in reader.rows.lines():
        reader.line(line, COLOUR.sub(b"", text) if b"\x1b[" in text else text)
    reader.finish()
    builder.doubts.append(REPLAYED)
    return builder.finish()


REPLAYED = Doubt(
    "perf trace prints no losses of a recorded file (-i), and a loss only with the next event that found room",
    "Scan perf.data itself if it was printed from one; otherwise look at what the trace ends with.",
    "unless it was printed from a file (perf trace -i) or its last events were lost",
)
EVIDENCE = Evidence(
    marks="LOST n events!, and perf's own line Processed n events and lost m chunks!",
    complete="no mark, and no thread whose calls and returns don't pair",
    blind="what perf trace -i leaves out, and what was lost behind the last event",
)
FORMAT = Format("perf-trace", "perf trace text (-a, -T, -e, -F, -S)", recognise, read, EVIDENCE, "perf trace")
