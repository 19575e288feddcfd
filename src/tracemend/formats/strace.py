"""strace's text, timed (``-ttt``, ``-tt``, ``-t``, ``-r``) or not, with or without the process (``12``, ``[pid 12]``).

A call is two events. One that returns on its own line enters at the line's time and exits at that time plus its
duration (``-T``); without ``-T`` both have the line's time, because strace tells no other. A call that is
``<unfinished ...>`` or ``<detached ...>`` enters there and exits where it is ``resumed``, if it is; one that never
returns (``= ?``) only enters. Signals, deaths, dumps, stacks and tables are no calls and are passed over. So is, once
counted, what the traced program itself wrote in between; where it wrote into a line, the rest of the call stands on a
later one and is joined to it.

``-z`` and ``-Z`` hold a line back until its call returned, so that lines of different threads are out of order: events
are sorted by time, each thread's own order being kept. strace waits for the program and never loses an event, so its
traces have no gaps; it records no cpu.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend.errors import TraceError
from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.lookalikes import rival
from tracemend.formats.rows import nanoseconds
from tracemend.formats.strace_columns import Follower, Scanned, Threads, scan
from tracemend.formats.stracelines import (
    CALL,
    EXECS,
    HEAD,
    LATEST_NS,
    NO_RESULT,
    RESULT,
    SILENT,
    UNFINISHED,
    Clock,
    attached,
    known,
    over,
)
from tracemend.formats.text import LOOKED_AT, Ints, ahead, chunks, decode
from tracemend.trace.events import ENTER, EXIT, Trace
from tracemend.trace.evidence import Doubt
from tracemend.trace.syscalls import LAST_CALLS

PID = re.compile(rb"^\[pid +(\d{1,9})[\]<]|Process (\d{1,9}) attached", re.MULTILINE)
#: The thread whose execve took over its process, and that process's number.
HEIR = re.compile(rb"superseded by execve in pid (\d{1,9})")
#: Calls that make threads and processes.
MAKERS = ("clone", "clone3", "fork", "vfork")
#: So much longer than by array operations it takes to read line by line.
EFFORT = 8
#: Events that are added to a trace at once.
BATCH = 1 << 18

BREAKS_OFF = Doubt(
    "the file breaks off within a line, so that what came after it is missing",
    "Let strace run to its end, or end it with Ctrl-C or SIGTERM, never with SIGKILL.",
)
BY_HAND = Doubt(
    "strace attached to a process that ran already, and what that did before isn't in the trace",
    "Start the process under strace to have its calls from the first on.",
)
TORN = Doubt(
    "a call is resumed that none left unfinished, or another begins within an unfinished one: lines are missing",
    "Take the whole file as strace wrote it, with the lines of all its processes.",
)
HEADLESS = Doubt(
    "it doesn't begin with execve, as it does for a process that strace starts",
    "Take the whole file, and let -e trace= keep execve.",
    "unless its beginning is missing",
)
ENDLESS = Doubt(
    "it ends before all of its processes do",
    "Let strace run to its end, and take the whole file.",
    "unless its end is missing",
)


def recognise(head: bytes) -> bool:
    """Whether the first lines are calls of the system's, whatever the traced program wrote in between.

    ltrace and others write alike, but other calls.
    """
    if rival(head):
        return False
    calls = theirs = foreign = 0
    for text in head.splitlines()[:LOOKED_AT]:
        at = HEAD.match(text).end()  # type: ignore[union-attr]  # every part of HEAD may be absent
        call = CALL.match(text, at)
        if call and (call["resumed"] or UNFINISHED.search(text) or RESULT.match(call["rest"])):
            calls += 1
            theirs += known(call["name"] or call["resumed"])
        elif not SILENT.match(text, at) and not attached(text):
            foreign += 1
    return theirs > 0 and 2 * theirs >= calls and 2 * calls >= foreign


def main_thread(path: Path) -> int:
    """The process that strace started, whose lines carry no ``[pid]`` as long as it is alone; -1 if nothing tells it.

    It is the first one that turns up with a ``[pid]`` without having been attached.
    """
    added = set()
    for chunk, _ in chunks(path):
        if b"[pid" in chunk or b" attached" in chunk:
            for pid, new in PID.findall(chunk):
                if new:
                    added.add(new)
                elif pid not in added:
                    return int(pid)
    return -1


@dataclass(slots=True)
class _Events:
    """The events so far. ``own``: the exit of a call that returned on its own line, so long after its begin."""

    times: list[Ints] = field(default_factory=list)
    texts: list[tuple[pa.Array, pa.Array]] = field(default_factory=list)
    #: Time, own, thread, command, name, phase, line; and arguments and result.
    numbers: list[tuple[int, bool, int, int, int, int, int]] = field(default_factory=list)
    words: list[tuple[str | None, str | None]] = field(default_factory=list)

    def pack(self) -> None:
        """Put what came since the last time into arrays."""
        if self.numbers:
            args, ret = zip(*self.words, strict=True)
            self.take(np.array(self.numbers, np.int64), pa.array(args, pa.string()), pa.array(ret, pa.string()))

    def take(self, numbers: Ints, args: pa.Array, ret: pa.Array) -> None:
        """Add what came since the last time, as arrays."""
        self.times.append(numbers)
        self.texts.append((args, ret))
        self.numbers, self.words = [], []

    def add_to(self, builder: Builder) -> None:
        """Add all of them in order of time; raises TraceError where the time of one thread runs backwards."""
        self.pack()
        if not self.times:
            return
        table = np.concatenate(self.times)
        order = _in_order(builder.path, table)
        args, ret = (pa.chunked_array(c) for c in zip(*self.texts, strict=True))
        for at in range(0, len(table), BATCH):
            rows = order[at : at + BATCH]
            time, _, tid, comm, name, phase, line = table[rows].T
            builder.add(
                time_ns=np.ascontiguousarray(time),
                cpu=np.full(len(rows), -1, np.int32),
                tid=tid.astype(np.int32),
                comm=comm.astype(np.int32),
                name=name.astype(np.int32),
                phase=phase.astype(np.int8),
                args=args.take(pa.array(rows)).combine_chunks(),
                ret=ret.take(pa.array(rows)).combine_chunks(),
                line=np.ascontiguousarray(line),
            )


def _in_order(path: Path, table: Ints) -> Ints:
    """The rows in order of time. An own exit comes no later than its thread's next line: durations are rounded."""
    lines = table[table[:, 1] == 0]
    by_thread = bool((np.diff(lines[:, 0]) < 0).any())  # else the order of the lines is that of time
    order = np.argsort(table[:, 2], kind="stable") if by_thread else np.arange(len(table))
    time, own, tid, line = table[order][:, [0, 1, 2, 6]].T
    told = np.flatnonzero(own == 0)
    back = np.flatnonzero((np.diff(time[told]) < 0) & (np.diff(tid[told]) == 0))
    if len(back):
        raise TraceError(path, int(line[told[back[0] + 1]]), "time goes backwards within a thread")
    exits = np.flatnonzero(own)
    following = np.minimum(exits + 1, len(time) - 1)
    nearest = (following > exits) & ((tid[following] == tid[exits]) | (not by_thread))
    time[exits] = np.where(nearest, np.minimum(time[exits], time[following]), time[exits])
    table[order, 0] = time
    return np.argsort(table[:, 0], kind="stable") if by_thread else order


@dataclass(slots=True)
class Reader:
    """What is known of a file of strace's up to one of its lines.

    ``held``: a call without an end so far, and its line: strace was stopped in it, or something was written in between.
    ``left``: the call that the line above left unfinished; with ``-z`` its end may follow without a head.
    ``over``: whether nothing
    need follow.
    """

    builder: Builder
    main: int
    alone: int
    alive: set[int]
    clock: Clock = field(default_factory=Clock)
    events: _Events = field(default_factory=_Events)
    threads: Threads = field(default_factory=Threads)
    names: dict[bytes, int] = field(default_factory=dict)
    timed: bool | None = None
    columned: bool | None = None
    index: int = 0
    held: tuple[int, bytes] | None = None
    left: tuple[re.Match[bytes], bytes] | None = None
    by_hand: bool = False
    headless: bool = False
    torn: bool = False
    over: bool = False

    def read(self, line: int, text: bytes) -> bool:
        """Take one line; False if it is none of strace's."""
        left, self.left = self.left, None
        here = attached(text) if b"tached" in text else None
        if here:
            pid, new, broken = here
            self.over = not new
            if new:
                self.alive.add(pid)
                self.by_hand |= self.index == 0 and not broken and self.held is None
            if broken:
                self.held = line, broken
            return True
        head = HEAD.match(text)
        assert head is not None  # every part of it may be absent
        call = CALL.match(text, head.end())
        if call:
            return self._call(line, text, head, call)
        if self.held and (RESULT.match(text) or UNFINISHED.match(text.lstrip())):
            begun = self.held[1]
            self.held = None
            return self.read(line, begun + text)
        if left and (ended := over(text)):
            return self._add(line, *left, True, ended)
        if not SILENT.match(text, head.end()) and not SILENT.match(text):
            self.builder.bad(line, f"no line of strace: {decode(text[:80])!r}")
            return False
        self.clock.read(head)  # whatever the line tells: -r counts from line to line
        if text.endswith(b"+++"):
            gone = int(head["pid"] or head["column"] or self.alone)
            heir = HEIR.search(text)
            self.threads.leave(gone)
            self.alive.discard(int(heir[1]) if heir else gone)
            self.over = self.alive.isdisjoint(self.threads.places)
            self.alone = next(iter(self.alive)) if len(self.alive) == 1 else self.main
        return True

    def _call(self, line: int, text: bytes, head: re.Match[bytes], call: re.Match[bytes]) -> bool:
        entering, resumed, rest = call.groups()
        if not head.end() and not known(entering or resumed):
            self.builder.bad(line, f"no call of the system's: {decode(text[:80])!r}")
            return False
        self.give_up()
        ended = over(rest)
        unfinished = UNFINISHED.search(rest) if ended is None or ended[1] == b"?" else None
        if ended is None and unfinished is None:
            self.held = line, text
            return True
        if unfinished:
            self.left = head, entering or resumed
            rest = rest[: unfinished.start()]
        args, ret, took = ended or (rest, b"?", None)
        self.over = decode(entering or resumed) in LAST_CALLS or bool(unfinished and b"detached" in unfinished[0])
        return self._add(line, head, entering or resumed, bool(resumed), (rest if unfinished else args, ret, took))

    def _add(
        self, line: int, head: re.Match[bytes], name: bytes, resumed: bool, said: tuple[bytes, bytes, bytes | None]
    ) -> bool:
        """Add the events of a call that stands on a line; False if that line doesn't fit the others."""
        time = self.clock.read(head)
        pid, own, column, other = head.group("pid", "own", "column", "comm")
        columned = column is not None
        if self.timed is None:
            self.timed, self.columned = time is not None, columned
        if self.timed is (time is None) or self.columned is not columned or (time or 0) > LATEST_NS:
            self.builder.bad(line, self._wrong(time, columned))
            return False
        args, ret, took = said
        tid = int(pid or column or self.alone)
        self.alive.add(tid)
        code = self.name(name)
        if tid not in self.threads.places:
            self.threads.add(tid)
            self.by_hand |= resumed or args.startswith(b"<... resuming interrupted")
            self.headless |= self.index == 0 and name not in EXECS
        else:
            begun = self.threads.leave(tid)
            self.torn |= name not in EXECS and (begun != code if resumed else begun >= 0)
        if ret == b"?":
            self.threads.enter(tid, code)
        command = own or other
        comm = -1 if command is None else self.builder.comms(decode(command))
        now = self.index if time is None else time
        if not resumed:
            self.events.numbers.append((now, False, tid, comm, code, ENTER, line))
            self.events.words.append((decode(args.strip()), None))
            self.index += 1
        if ret not in NO_RESULT:
            after = self.index if time is None else now + (nanoseconds(took) if took and not resumed else 0)
            self.events.numbers.append((after, not resumed, tid, comm, code, EXIT, line))
            self.events.words.append((None, decode(ret)))
            self.index += 1
        return True

    def name(self, name: bytes) -> int:
        """A name's code in the trace."""
        code = self.names.get(name)
        if code is None:
            code = self.names[name] = self.builder.names(decode(name))
        return code

    def _wrong(self, time: int | None, columned: bool) -> str:
        """How a line doesn't fit the others."""
        if self.timed is (time is None):
            return "the line has no time" if self.timed else "a line with a time among lines without"
        if self.columned is not columned:
            return "the line has no process" if self.columned else "a line with a process among lines without"
        return "the time is beyond what 64 bits of nanoseconds hold"

    def give_up(self) -> None:
        """Another call follows the held one, whose end is not to be found."""
        if self.held:
            line, text = self.held
            self.held = None
            self.builder.bad(line, f"the call has no result: {decode(text[:80])!r}")

    def end(self) -> bool:
        """Whether the file ended within a call, which was entered then."""
        line, text = self.held or (0, b"")
        head = HEAD.match(text)
        call = head and CALL.match(text, head.end())
        if head and call and call["name"]:
            return self._add(line, head, call["name"], False, (call["rest"], b"?", None))
        self.give_up()
        return False


def _is_head(text: bytes) -> bool:
    """Whether a line ends before it says anything."""
    return HEAD.fullmatch(text) is not None


def read(path: Path, options: Options) -> Trace:
    """Read strace's text; raises TraceError."""
    builder = Builder(path, "strace", options, mixed=True)
    main = main_thread(path)
    reader = Reader(builder, main, main, {main})
    cut = False
    for piece in ahead(chunks(path, EFFORT), scan, options.jobs):
        if isinstance(piece, Scanned):
            followed = Follower(reader, piece).follow()
            cut = piece.cut and (not followed or _is_head(piece.raw[piece.raw.rfind(b"\n") + 1 :]))
            continue
        chunk, first = piece
        *whole, rest = chunk.split(b"\n")
        for line, text in enumerate(whole, first):
            reader.read(line, text.rstrip(b"\r"))
        cut = bool(rest) and (not reader.read(first + len(whole), rest) or _is_head(rest))
        reader.events.pack()
    if reader.end() or cut:
        builder.doubts.append(BREAKS_OFF)
    if reader.by_hand:
        builder.doubts.append(BY_HAND)
    elif reader.headless:
        builder.doubts.append(HEADLESS)
    if reader.torn:
        builder.doubts.append(TORN)
    elif reader.index and not reader.over:
        builder.doubts.append(ENDLESS)
    reader.events.add_to(builder)
    builder.processes = _processes(builder)
    return builder.finish("ns" if reader.timed else "index")


def _processes(builder: Builder) -> dict[int, int]:
    """By thread its process, as far as calls tell: a new thread is of its parent's, all else that is made is a process
    of its own, and so is whoever runs a program."""
    table = builder.held()
    of = pc.is_in(table["name"].cast(pa.string()), pa.array([*MAKERS, "execve"]))
    processes: dict[int, int] = {}
    asked: dict[int, str] = {}
    for call in table.filter(of).select(["tid", "name", "phase", "args", "ret"]).to_pylist():
        tid = call["tid"]
        if call["phase"] == "enter":
            asked[tid] = call["args"] or ""
        elif call["name"] == "execve":
            if call["ret"] == "0":
                processes[tid] = tid
        elif (call["ret"] or "").isdigit() and int(call["ret"]):
            child, thread = int(call["ret"]), "CLONE_THREAD" in asked.pop(tid, "")
            if not thread or tid in processes:
                processes[child] = processes[tid] if thread else child
    return processes


EVIDENCE = Evidence(
    marks="none: strace stops the process at each call, so that nothing is lost",
    complete="strace started the process, and the file goes on to the end of all its processes",
    blind="what a process did before strace attached to it, and lines that were taken out of the file",
)
FORMAT = Format("strace", "strace text (-f, -ttt, -tt, -t, -r)", recognise, read, EVIDENCE, "strace")
