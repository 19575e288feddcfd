"""What babeltrace 1 and 2 print of a CTF trace: every way to show times, with and without fields' names.

Losses: both print on stderr, which in one file with the events can break a line in two: ``Tracer discarded N events
between [t] and [u] ... (stream)``, and ``discarded`` (2) or ``lost`` (1) ``N packets``. A warning stands in front of
the packet that counts it, but what it counts was lost behind that packet's last event (the counter is noted when the
packet is closed, at ``u``): the gap lies before its cpu's first event from ``u`` on. Of lost packets it lies behind
``t``. The counter may run backwards for a packet, which is printed as nearly 2^64 events, and is put right as the CTF
reader does it. The stream's id, and without one (babeltrace 1) the end of its file's name, is its cpu.

Events that babeltrace 1 finds lost ``at end of stream`` name none. Of packets lost where it tells of lost events, too,
it says nothing.

Inferred events of a mended trace are no evidence and are passed over, where fields are printed with their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.rows import LATEST_NS, DayClock, Rows, nanoseconds
from tracemend.formats.text import LONGEST_LINE, LOOKED_AT, Ints, chunks, decode
from tracemend.trace.events import ENTER, EXIT, INSTANT, Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced
from tracemend.trace.syscalls import call_name, canonical

#: A time of day with or without a date, seconds, cycles.
TIME = (
    rb"(?:(?:(?P<date>\d{4}-\d\d-\d\d) )?(?P<clock>\d\d:\d\d:\d\d\.\d{1,9})|(?P<seconds>\d{1,10}\.\d{9})"
    rb"|(?P<cycles>\d{10,20}))"
)
#: In front of an event's name come host, process, log level, each with no end of its own.
EVENT = re.compile(
    rb"(?:\[" + TIME + rb"\](?: \(\+[\d.?]+\))? (?P<about>[^{}\n]{0,256}?(?<![^\s:]))?(?P<name>[\w:.*$@/<>~-]{1,128}?):"
    rb"|timestamp = " + TIME.replace(b"?P<", b"?P<n") + rb", (?:delta = \+[\d.?]+, )?(?P<nabout>[^{}\n]{0,256}?)"
    rb"(?<=, )name = (?P<nname>[^{},\n]+),)(?: (?P<fields>.*))?$",
    re.DOTALL,
)
START = re.compile(rb"\[[\d: .-]+\] |timestamp = \d")
WARNING = re.compile(
    rb"(?:\x1b\[[\d;]*m)*(?:\[warning\]|WARNING(?:\x1b\[[\d;]*m)*:) Tracer (?:discarded|lost) (?P<count>-?\d{1,20}) "
    rb"(?P<unit>events?|(?:trace )?packets?)(?P<end> at end of stream)?"
    rb"(?: between \[(?P<begin>[^\]]{1,40})\] and \[(?P<until>[^\]]{1,40})\]| \(unknown time range\))?(?P<where>[^\n]*)"
)
#: Any other warning of theirs, which can be in the middle of a line, too.
OTHER = re.compile(rb"\[(?:warning|error|debug)\] [^\n]*|\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +\d+ +\d+ [EWI] [^\n]*")
HINTS = (b"[warning] ", b"[error] ", b"[debug] ", b" W ", b" E ", b" I ")
STREAM_ID = re.compile(rb"stream ID: (\d{1,5})\)")
#: ``channel0_1``, and ``channel0_1_0`` where trace files are split by size.
STREAM_FILE = re.compile(rb"_(\d{1,5})(?:_\d{1,9})?\"(?: \(stream class ID|\.| *$)")
#: What stands in front of an event's own fields, which may have any names; only perf tells there whose an event is.
CONTEXTS = re.compile(rb".*(?=\}, (?:event\.fields = )?\{)", re.DOTALL)
CPU, TID, COMM = (
    re.compile(rb"(?<![\w.])(?:%s) = \"?(%s)" % of)
    for of in ((rb"cpu_id", rb"\d{1,5}\b"), (rb"v?tid", rb"-?\d{1,9}\b"), (rb"procname|comm", rb"[^\"]*"))
)
PERF_TID, PERF_COMM = re.compile(rb"\bperf_tid = (-?\d{1,9})\b"), re.compile(rb"\bperf_comm = \"([^\"]*)")
#: The process of a thread by ``tid``, and by ``vtid``, which counts as its container does.
PIDS = [re.compile(rb"(?<![\w.])%s = (\d{1,9})\b" % name) for name in (b"pid", b"vpid")]
#: An inferred event of a mended trace says so in the first context that has names of any kind.
INFERRED = re.compile(rb"[^\"]*\{ tracemend_inferred = 1,")
NUMBER, RET = re.compile(rb"\bid = (\d{1,9})\b"), re.compile(rb"\bret = (-?\w+)")
#: So many contexts are kept, to be read once.
MOST_KEPT = 1 << 16


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event, or a loss."""
    lines = head.splitlines()[:LOOKED_AT]
    return any(WARNING.search(line, 0, 4096) or (START.match(line) and EVENT.match(line)) for line in lines)


def _records(path: Path, held: list[tuple[int, re.Match[bytes]]]) -> Iterator[tuple[int, bytes | None]]:
    """Events with the number of their line, whole though their own text has several lines; None at the end of a chunk.

    A warning is taken out with its line's end, wherever it stands: what is left is what went to stdout. Losses go to
    ``held``.
    """
    record, at, begun = b"", 0, b""
    for chunk, first in chunks(path):
        for line, whole in enumerate(chunk.removesuffix(b"\n").split(b"\n"), first):
            text = begun + whole.rstrip(b"\r")
            warning = WARNING.search(text) if b"Tracer " in text else None
            other = warning or (any(word in text for word in HINTS) and OTHER.search(text)) or None
            if warning:
                held.append((line, warning))
            begun = text[: other.start()] if other and other.start() < LONGEST_LINE else b""
            if other:
                continue
            if START.match(text) or not record:
                if record:
                    yield at, record
                record, at = text, line
            elif len(record) < LONGEST_LINE:
                record += b"\n" + text
        yield line, None
    if record or begun:
        yield at, record + begun


@dataclass(frozen=True, slots=True)
class _Loss:
    """A loss as a warning tells it: ``count`` events, None for packets, between two times."""

    cpu: int
    count: int | None
    begin: int
    until: int
    line: int


class _Reader:
    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.rows = Rows(builder)
        self.clock = DayClock()
        self.losses: list[_Loss] = []
        self.open: dict[int, str] = {}
        self.contexts: dict[bytes, tuple[int, int, int]] = {}
        from tracemend.formats.ctf import event_names  # all of CTF comes with it

        self.names = event_names

    def time(self, groups: dict[str, bytes | None], keep: bool = True) -> int:
        """A time in nanoseconds; times of day without a date go on over midnight. Raises ValueError for no time."""
        date, clock, seconds, cycles = (groups[k] for k in ("date", "clock", "seconds", "cycles"))
        if clock:
            parts = clock.split(b":")
            if not date:
                return self.clock.read(*parts) if keep else self.clock.near(*parts)
            day = datetime.fromisoformat(decode(date)).replace(tzinfo=UTC)
            return int(day.timestamp()) * 1_000_000_000 + DayClock().read(*parts)
        return nanoseconds(seconds) if seconds else int(cycles or b"")

    def event(self, line: int, text: bytes) -> None:
        found = EVENT.match(text)
        if found is None:
            if text.strip():
                self.builder.bad(line, f"no line of babeltrace: {decode(text[:80])!r}")
            return
        fields = found["fields"] or b""
        if INFERRED.match(fields):
            self.builder.inferred += 1
            return
        groups = found.groupdict()
        named = {k: groups[k] or groups["n" + k] for k in ("date", "clock", "seconds", "cycles", "name", "about")}
        try:
            time = self.time(named)
        except ValueError:
            time = -1
        if not 0 <= time <= LATEST_NS:
            self.builder.bad(line, "the time can't be one")
            return
        cpu, thread, comm = self.whose(fields)
        name, phase = self._name(decode(named["name"] or b""), thread, fields)
        ret = RET.search(fields) if phase == EXIT else None
        self.rows.found.append(
            (
                *(time, cpu, thread, comm, self.builder.names(name), phase),
                *(decode(fields) if phase != EXIT else None, decode(ret[1]) if ret else None, line),
            )
        )

    def whose(self, fields: bytes) -> tuple[int, int, int]:
        """An event's cpu, thread and command; contexts come again and again."""
        contexts = CONTEXTS.match(fields)
        around = contexts[0] if contexts else b""
        known = self.contexts.get(around)
        if known is None:
            cpu = CPU.search(around or fields)
            tid = TID.search(around) or PERF_TID.search(fields)
            comm = COMM.search(around) or PERF_COMM.search(fields)
            code = self.builder.comms(decode(comm[1])) if comm else -1
            known = int(cpu[1]) if cpu else -1, int(tid[1]) if tid else -1, code
            process = tid and PIDS[tid[0].startswith(b"v")].search(around)
            if tid and process:
                self.builder.processes[int(tid[1])] = int(process[1])
            if min(known) >= 0 and not PERF_TID.search(fields) and len(self.contexts) < MOST_KEPT:
                self.contexts[around] = known
        return known

    def _name(self, name: str, tid: int, fields: bytes) -> tuple[str, int]:
        """What an event's name stands for, as in CTF itself."""
        raw, named = self.names.NUMBERED.fullmatch(name), self.names.NAMED.fullmatch(name)
        number = NUMBER.search(fields)
        arch = self.builder.options.arch
        if raw and number:
            return call_name(int(number[1]), arch), ENTER if raw[1] == "enter" else EXIT
        if name == self.names.OLD_EXIT:
            return self.open.pop(tid, name), EXIT
        if named is None:
            return name, INSTANT
        phase = EXIT if "exit" in (named["lttng"], named["perf"]) else ENTER
        call = named["call"]
        if call == "unknown" and number and not named["compat"]:
            return call_name(int(number[1]), arch), phase
        if phase == ENTER:
            self.open[tid] = canonical(call)
        return canonical(call), phase

    def loss(self, line: int, warning: re.Match[bytes]) -> None:
        """Note a loss; its place is looked for when all events are there."""
        count, packets = int(warning["count"]), warning["unit"].endswith((b"packet", b"packets"))
        if count >= 1 << 63:
            count -= 1 << 64
        number = STREAM_ID.search(warning["where"]) or STREAM_FILE.search(warning["where"])
        try:
            begin, until = (self._stamp(warning[k]) for k in ("begin", "until"))
        except ValueError:
            begin = until = -1
        if warning["end"] or until < 0 or max(begin, until) > LATEST_NS:
            said = f"the tracer discarded {count:,} {decode(warning['unit'])}" + (
                " at the end" if warning["end"] else ""
            )
            unit = "packets" if packets else "events"
            self.builder.unplaced.append(Unplaced(said, abs(count), unit, int(number[1]) if number else -1, line))
            return
        cpu = int(number[1]) if number else -1
        self.losses.append(_Loss(cpu, None if packets else count, begin, until, line))

    def _stamp(self, text: bytes | None) -> int:
        found = re.fullmatch(TIME, text or b"")
        if found is None:
            raise ValueError("no time")
        return self.time(found.groupdict(), keep=False)

    def finish(self) -> None:
        numbers = self.rows.numbers()
        known = set(np.unique(numbers[1]).tolist())
        by_stream: dict[int, list[_Loss]] = {}
        for loss in self.losses:
            by_stream.setdefault(loss.cpu if loss.cpu in known or known != {-1} else -1, []).append(loss)
        end, marks = numbers.shape[1], []
        for cpu, losses in by_stream.items():
            rows = np.flatnonzero(numbers[1] == cpu)
            times = numbers[0, rows]
            counted = sorted((x for x in losses if x.count is not None), key=lambda x: x.until)
            for loss, count in zip(counted, _settled([x.count or 0 for x in counted]), strict=True):
                if count:
                    at = int(np.searchsorted(times, loss.until))  # the event that opened the next packet gave its time
                    marks.append(Mark(cpu, _row(rows, at, end), count, loss.line, None, loss.until))
            for loss in losses:
                if loss.count is None:
                    at = int(np.searchsorted(times, loss.begin, side="right"))
                    marks.append(Mark(cpu, _row(rows, at, end), None, loss.line, loss.begin, loss.until))
        self.rows.finish(numbers, marks)


def _settled(counts: list[int]) -> list[int]:
    """What a counter grew by between packets, where it runs backwards at times: then it had counted ahead."""
    totals = np.cumsum([0, *(max(-(1 << 40), min(c, 1 << 40)) for c in counts)])
    settled: list[int] = np.diff(np.minimum.accumulate(totals[::-1])[::-1]).tolist()
    return settled


def _row(rows: Ints, at: int, end: int) -> int:
    return int(rows[at]) if at < len(rows) else end


def read(path: Path, options: Options) -> Trace:
    """Read babeltrace's text; raises TraceError."""
    builder = Builder(path, "babeltrace", options)
    reader = _Reader(builder)
    held: list[tuple[int, re.Match[bytes]]] = []
    for line, record in _records(path, held):
        if record is None:
            reader.rows.pack()
        else:
            reader.event(line, record)
        for warning in held:
            reader.loss(*warning)
        held.clear()
    reader.finish()
    builder.doubts.append(UNHEARD)
    return builder.finish()


UNHEARD = Doubt(
    "babeltrace prints losses on stderr, and nothing tells whether that was kept",
    "Scan the CTF folder itself, whose packets count what was lost.",
)
EVIDENCE = Evidence(
    marks="Tracer discarded n events between [t] and [u], Tracer discarded (or lost) n packets",
    complete="",
    blind="everything, if only stdout was kept, and nothing tells whether it was; at times lost packets (babeltrace 1)",
)
FORMAT = Format("babeltrace", "text of babeltrace 1 and 2", recognise, read, EVIDENCE, "")
