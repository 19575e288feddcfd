"""What eBPF tools print: bcc's, libbpf-tools' and bpftrace's (text, or ``-f json``).

Their text has no common shape. Under a header that names columns (``TIME PID COMM ...``) a row is an event with the
time, thread, command and, if the losses name cpus, the cpu that it tells. Of anything else each line is an event called
``output``, and its position is its time. In JSON each record of an output is an event; maps and histograms are none.

Losses: ``Possibly lost n samples`` (bcc), ``Lost n samples`` (bcc of 2017), ``Lost n events on CPU #c!``
(libbpf-tools), ``Lost n events`` (bpftrace; tracee and others the same), ``{"type": "lost_events"}``. A perf buffer
tells of a loss before the next event of its cpu. bcc and libbpf-tools print that on stderr, which in one file with the
events can break a line in two, and a ring buffer's losses they don't print at all. bpftrace prints it where it prints
``Attaching n probes...``: whoever has that line has the losses, too.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.rows import LATEST_NS, DayClock, Rows, nanoseconds
from tracemend.formats.text import LONGEST_LINE, LOOKED_AT, decode, read_head
from tracemend.trace.events import INSTANT, Mark, Trace
from tracemend.trace.evidence import Doubt
from tracemend.untrusted import json_of

#: A loss at the end of a line, behind the beginning of one that goes on in the next, or behind a logger's words.
LOST = re.compile(
    rb"(?:[Pp]ossibly lost|[Ll]ost|(?<=ring buffer full, )dropped) (?P<count>\d+) (?:samples?|events?)"
    rb"(?: on CPU ?#?(?P<cpu>\d{1,5}))?[!.]?\"?\}?$"
)
#: One that is a line of its own, by which such output is recognised.
ALONE = re.compile(rb"(?:Possibly lost \d+ samples|[Ll]ost \d+ (?:samples|events)(?: on CPU #\d+)?)!?$")
ATTACHED = re.compile(rb"Attach(?:ing|ed) \d+ probes?(?:\.\.\.)?$")
RECORD = re.compile(
    rb'\{"type": ?"(?:attached_probes|lost_events|printf|time|cat|join|syscall|value|map|hist|stats)", ?"'
)
#: bpftrace's words about itself, maps and histograms, which it prints at its end.
SILENT = re.compile(
    rb"\s*$|(?:\S+: )?(?:ERROR|WARNING|DEBUG|INFO|libbpf): |@|[\[(][^|]{1,40}\d+ +\|[@ ]*\||Tracing .*(?:Ctrl-C|\^C)"
    rb"|\^C"
)
COLUMN = re.compile(r"[A-Z][A-Z0-9_#%/]*(?:\([A-Za-z%/]{1,4}\))?|\|?LAT\(ms\)|-")
#: What a tool traces, by columns that only its header has; a column of this kind names each event itself.
TRACED = {"PATH": "open", "FNAME": "open", "PCOMM": "exec", "DPORT": "connect", "SECTOR": "io", "SIG": "signal"}
NAMES = ("FUNC", "FUNCTION", "SYSCALL", "EVENT", "CAP", "NAME")
OUTPUT = ("printf", "time", "cat", "join", "syscall", "value")


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is a header, a loss or a record of such a tool's."""
    for text in head.splitlines()[:LOOKED_AT]:
        if ATTACHED.match(text) or RECORD.match(text) or ALONE.match(text) or _Columns.of(text):
            return True
    return False


class _Columns:
    """A header: which word of a row is what."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        at = {name: k for k, name in enumerate(names)}
        self.time = next((k for k, name in enumerate(names) if name.startswith("TIME")), None)
        self.unit = 6 if self.time is not None and "(ms)" in names[self.time] else 9
        self.tid = at.get("TID", at.get("PID"))
        self.comm = at.get("COMM", at.get("PCOMM"))
        self.cpu = at.get("CPU")
        self.name = next((at[n] for n in NAMES if n in at), None)
        self.traced = next((what for column, what in TRACED.items() if column in at), "output")

    @classmethod
    def of(cls, text: bytes) -> _Columns | None:
        """The columns, if the line is a header: capitals throughout, a thread and a command among them."""
        if b"PID" not in text and b"TID" not in text:
            return None
        names = text[:512].decode("latin-1").split()
        if len(names) < 3 or not all(map(COLUMN.fullmatch, names)):
            return None
        whose, what = {"PID", "TID"} & set(names), {"COMM", "PCOMM"} & set(names)
        return cls(names) if whose and what else None


class _Reader:
    """The state between lines: the header that rows stand under, the losses, what shows where they would be."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.rows = Rows(builder)
        self.marks: list[Mark] = []
        self.columns: _Columns | None = None
        self.table = any(map(_Columns.of, read_head(builder.path).splitlines()))  # a header comes
        self.clock = DayClock()
        self.timed: bool | None = None
        self.attached = False  # what bpftrace says of losses is here
        self.by_cpu = True  # every event and every loss names its cpu
        self.begun = b""  # the beginning of a line that a loss broke in two

    def line(self, line: int, text: bytes) -> None:
        lost = LOST.search(text) if b"ost " in text or b"dropped " in text else None
        if lost and not text.startswith(b'{"type"'):
            count = self.builder.count(line, lost["count"])
            self.lost(count, int(lost["cpu"]) if lost["cpu"] else -1, line)
            if len(self.begun) < LONGEST_LINE and not text[: lost.start()].endswith((b": ", b", ", b'"')):
                self.begun += text[: lost.start()]
            return
        text, self.begun = self.begun + text, b""
        columns = _Columns.of(text)
        if ATTACHED.match(text):
            self.attached = True
        elif RECORD.match(text):
            self.record(line, text)
        elif columns:
            self.columns = columns
        elif SILENT.match(text):
            pass
        elif self.columns:
            self.row(self.columns, line, text)
        elif self.table:
            self.builder.bad(line, f"a line in front of the header: {decode(text[:80])!r}")
        else:
            self.add(None, "output", decode(text), line)

    def lost(self, count: int | None, cpu: int, line: int) -> None:
        self.by_cpu &= cpu >= 0
        self.marks.append(Mark(cpu, len(self.rows), count, line))

    def record(self, line: int, text: bytes) -> None:
        """A record of bpftrace's JSON."""
        try:
            found: Any = json_of(text)
            kind, data = found["type"], found.get("data")
            count = int(data["events"]) if kind == "lost_events" else 0
        except (ValueError, KeyError, TypeError):
            self.builder.bad(line, f"no record of bpftrace: {decode(text[:80])!r}")
            return
        self.attached |= kind == "attached_probes"
        if kind == "lost_events":
            self.lost(self.builder.count(line, b"%d" % max(0, count)), -1, line)
        elif kind in OUTPUT:
            self.add(None, kind, data if isinstance(data, str) else json.dumps(data), line)

    def row(self, columns: _Columns, line: int, text: bytes) -> None:
        """A row under a header."""
        words = decode(text).split(None, len(columns.names) - 1)
        time = None if columns.time is None or columns.time >= len(words) else self.time(words[columns.time], columns)
        if columns.tid is None or len(words) <= columns.tid or (columns.time is not None and time is None):
            self.builder.bad(line, f"no row under the header: {decode(text[:80])!r}")
            return
        tid = words[columns.tid]  # a command of several words in front of it shifts it
        who = next((w for w in words[columns.tid :] if w.isdecimal() and w.isascii()), tid)
        comm = words[columns.comm] if columns.comm is not None and columns.comm < len(words) else ""
        cpu = words[columns.cpu] if columns.cpu is not None and columns.cpu < len(words) else ""
        name = words[columns.name] if columns.name is not None and columns.name < len(words) else columns.traced
        self.add(time, name, decode(text), line, (_number(who, 9), _number(cpu, 5), comm))

    def time(self, word: str, columns: _Columns) -> int | None:
        """A row's time: of day, or seconds or milliseconds since the tool began."""
        if re.fullmatch(r"\d\d:\d\d:\d\d(?:\.\d{1,9})?", word, re.ASCII):
            return self.clock.read(*word.encode().split(b":"))
        if re.fullmatch(r"\d{1,10}(?:\.\d{1,12})?", word, re.ASCII):
            return nanoseconds(word.encode(), columns.unit)
        return None

    def add(self, time: int | None, name: str, text: str, line: int, who: tuple[int, int, str] = (-1, -1, "")) -> None:
        """Add an event; ``who``: its thread, cpu and command."""
        timed = time is not None
        self.timed = timed if self.timed is None else self.timed
        if self.timed != timed or (time or 0) > LATEST_NS:
            self.builder.bad(line, "a line without a time among lines with one, or the other way round")
            return
        tid, cpu, comm = who
        self.by_cpu &= cpu >= 0
        code = self.builder.comms(comm) if comm else -1
        now = len(self.rows) if time is None else time
        self.rows.found.append((now, cpu, tid, code, self.builder.names(name), INSTANT, text, None, line))

    def finish(self) -> Trace:
        numbers = self.rows.numbers()
        if not self.by_cpu:
            numbers[1] = -1
            self.marks = [replace(m, cpu=-1) for m in self.marks]
        self.rows.finish(numbers, self.marks)
        self.builder.tracer = "bpftrace" if self.attached else ""
        self.builder.doubts.append(LAST if self.attached else UNHEARD)
        return self.builder.finish("ns" if self.timed else "index")


def _number(word: str, most: int) -> int:
    return int(word) if word.isdecimal() and word.isascii() and len(word) <= most else -1


def read(path: Path, options: Options) -> Trace:
    """Read what an eBPF tool printed; raises TraceError."""
    reader = _Reader(Builder(path, "bpf", options))
    for line, text in reader.rows.lines():
        reader.line(line, text)
    if reader.begun:
        reader.line(line, b"")
    return reader.finish()


UNHEARD = Doubt(
    "an eBPF tool prints what a perf buffer lost on stderr, and what a ring buffer lost often not at all",
    "Keep stderr beside it (2>&1), and count in the program what found no room in a ring buffer.",
)
LAST = Doubt(
    "a perf buffer tells of a loss only with the next event that finds room",
    "Record a little longer than what you look at.",
    "unless the last events of a cpu were lost",
)
EVIDENCE = Evidence(
    marks="Possibly lost n samples, Lost n events (on CPU #c!), records of type lost_events",
    complete="bpftrace's own first line (Attaching n probes...) and no mark, as both go to the same place",
    blind="everything of tools other than bpftrace if stderr wasn't kept, and what ring buffers lost",
)
FORMAT = Format("bpf", "output of eBPF tools (bcc, libbpf-tools, bpftrace)", recognise, read, EVIDENCE)
