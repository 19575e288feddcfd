"""strace's text, timed (``-ttt``, ``-tt``, ``-t``, ``-r``) or not, with or without the process (``12``, ``[pid 12]``).

A call is two events. One that returns on its own line enters at the line's time and exits at that time plus its
duration (``-T``); without ``-T`` both have the line's time, because strace tells no other. A call that is
``<unfinished ...>`` enters there and exits where it is ``resumed``; one that never returns (``= ?``) only enters.
Signals and deaths (``--- SIGCHLD ---``, ``+++ exited +++``) are no calls and are passed over. strace waits for the
program and never loses an event, so its traces have no gaps; it records no cpu.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracemend.formats.base import Builder, Evidence, Format, Options
from tracemend.formats.text import chunks, decode
from tracemend.trace.events import ENTER, EXIT, Trace

#: What stands in front of a call: the process, the time, and with ``-i`` and ``-n`` the address and the number.
HEAD = re.compile(
    rb"(?:\[pid +(?P<pid>\d{1,9})\] +|(?P<column>\d{1,9}) +)?"
    rb"(?:\s*(?:(?P<clock>\d\d:\d\d:\d\d)(?P<part>\.\d{1,9})?|(?P<seconds>\d{1,10}(?:\.\d{1,9})?)) )?"
    rb"(?:\[ *[0-9a-fx?]+\] )*"
)
CALL = re.compile(rb" *(?:(?P<name>[a-z_]\w*|\?\?\?)\(|<\.\.\. (?P<resumed>[a-z_]\w*|\?\?\?) resumed>)(?P<rest>.*)")
#: The end of a call that is over: the last closing parenthesis, an equals sign, the result, the time it took.
RESULT = re.compile(rb"(?P<args>.*)\)\s+= (?P<ret>\S.*?)(?: <(?P<took>\d{1,9}\.\d{1,9})>)?$")
UNFINISHED = re.compile(rb" *<unfinished \.\.\.>(?:\)?\s+= \?)?$")
#: Signals, deaths, strace's own words, stack frames of ``-k``, blank lines.
SILENT = re.compile(rb" *(?:---.*---|\+\+\+.*\+\+\+|(?:/\S+/)?strace: .*|Process \d+ .*| ?> .*|#.*)?$")
ATTACHED = re.compile(rb"(?P<cut>.*?)(?:strace: )?Process (?P<pid>\d{1,9}) attached(?: \(.{0,80}\))?$")
PID = re.compile(rb"^\[pid +(\d{1,9})\]|Process (\d{1,9}) attached", re.MULTILINE)

#: Seconds below this are no date (it was 1973): they are ``-r``'s distances.
EARLIEST_DATE = 100_000_000
LATEST_NS = (1 << 63) - 1 - 1_000_000_000 * 1_000_000_000  # a duration has nine digits of seconds
DAY_NS = 86_400 * 1_000_000_000
LOOKED_AT = 20


#: Time, thread, name's code, phase, arguments, result, line.
_Event = tuple[int, int, int, int, str | None, str | None, int]


def _add(builder: Builder, events: list[_Event]) -> None:
    if not events:
        return
    time_ns, tid, name, phase, args, ret, line = zip(*events, strict=True)
    builder.add(
        time_ns=np.array(time_ns, np.int64),
        cpu=np.full(len(events), -1, np.int32),
        tid=np.array(tid, np.int32),
        comm=np.full(len(events), -1, np.int32),
        name=np.array(name, np.int32),
        phase=np.array(phase, np.int8),
        args=pa.array(args, pa.string()),
        ret=pa.array(ret, pa.string()),
        line=np.array(line, np.int64),
    )


def _exit(entered: int, exited: int, tid: int, name: int, ret: bytes, line: int, *, latest_ns: int) -> _Event:
    """A call's exit, no later than the next line: durations are rounded."""
    return max(entered, min(exited, latest_ns)), tid, name, EXIT, None, decode(ret), line


class _Clock:
    """strace's four ways to tell the time, as nanoseconds that never jump over midnight. None: no time at all."""

    def __init__(self) -> None:
        self.now = 0
        self.days = 0
        self.of_day = 0

    def read(self, head: re.Match[bytes]) -> int | None:
        if head["clock"]:
            hours, minutes, seconds = head["clock"].split(b":")
            of_day = _nanoseconds(b"%d%s" % (int(hours) * 3600 + int(minutes) * 60 + int(seconds), head["part"] or b""))
            self.days += of_day < self.of_day - DAY_NS // 2
            self.of_day = of_day
            self.now = self.days * DAY_NS + of_day
        elif head["seconds"]:
            time = _nanoseconds(head["seconds"])
            self.now = time if time >= EARLIEST_DATE * 1_000_000_000 else self.now + time
        else:
            return None
        return self.now


def _nanoseconds(text: bytes) -> int:
    seconds, _, fraction = text.partition(b".")
    return int(seconds) * 1_000_000_000 + int(fraction.ljust(9, b"0"))


def recognise(head: bytes) -> bool:
    """Whether the first lines are calls."""
    for text in head.splitlines()[:LOOKED_AT]:
        at = HEAD.match(text).end()  # type: ignore[union-attr]  # every part of HEAD may be absent
        call = CALL.match(text, at)
        if call and (call["resumed"] or UNFINISHED.search(text) or RESULT.match(call["rest"])):
            return True
        if not SILENT.match(text, at) and not ATTACHED.match(text):
            return False
    return False


def main_thread(path: Path) -> int:
    """The process that strace started, whose lines carry no ``[pid]`` as long as it is alone; -1 if nothing tells it.

    It is the first one that turns up with a ``[pid]`` without having been attached.
    """
    attached = set()
    for chunk, _ in chunks(path):
        if b"[pid" in chunk or b" attached" in chunk:
            for pid, new in PID.findall(chunk):
                if new:
                    attached.add(new)
                elif pid not in attached:
                    return int(pid)
    return -1


def read(path: Path, options: Options) -> Trace:
    """Read strace's text; raises TraceError."""
    builder = Builder(path, "strace", options)
    main = alone = main_thread(path)
    alive = {main}
    clock = _Clock()
    timed: bool | None = None
    index = 0
    returned: tuple[int, int, int, int, bytes, int] | None = None  # entered, exited, thread, name, result, line
    names: dict[bytes, int] = {}
    cut = b""  # a line that strace broke off to say that it attached a process
    for chunk, first in chunks(path):
        events: list[_Event] = []
        for line, whole in enumerate(chunk.split(b"\n"), first):
            text = cut + whole.rstrip(b"\r")
            cut = b""
            attached = ATTACHED.match(text) if b" attached" in text else None
            if attached:
                alive.add(int(attached["pid"]))
                cut = attached["cut"] if attached["cut"].strip() else b""
                continue
            head = HEAD.match(text)
            assert head is not None  # every part of it may be absent
            time = clock.read(head)  # whatever the line tells: -r counts from line to line
            pid = int(head["pid"] or head["column"] or alone)
            call = CALL.match(text, head.end())
            if call is None:
                if not SILENT.match(text, head.end()):
                    builder.bad(line, f"no line of strace: {decode(text[:80])!r}")
                elif text.endswith(b"+++"):
                    alive.discard(pid)
                    alone = next(iter(alive)) if len(alive) == 1 else main
                continue
            entering, resumed, rest = call.groups()
            result = RESULT.match(rest)
            args, ret, took = result.groups() if result else (rest, b"?", None)
            unfinished = UNFINISHED.search(rest) if ret == b"?" else None
            if result is None and unfinished is None:
                builder.bad(line, f"the call has no result: {decode(text[:80])!r}")
                continue
            if timed is None:
                timed = time is not None
            if timed != (time is not None):
                builder.bad(line, "the line has no time" if timed else "a line with a time among lines without")
                continue
            if time is not None and time > LATEST_NS:
                builder.bad(line, "the time is beyond what 64 bits of nanoseconds hold")
                continue
            alive.add(pid)
            name = names.get(entering or resumed)
            if name is None:
                name = names[entering or resumed] = builder.names(decode(entering or resumed))
            now = index if time is None else time
            if returned is not None:
                events.append(_exit(*returned, latest_ns=now))
                returned = None
            if entering:
                if unfinished:
                    args = rest[: unfinished.start()]
                events.append((now, pid, name, ENTER, decode(args.strip()), None, line))
                index += 1
            if ret != b"?":
                after = index if time is None else now + (_nanoseconds(took) if took and entering else 0)
                returned = now, after, pid, name, ret, line
                index += 1
        _add(builder, events)
    if returned is not None:
        _add(builder, [_exit(*returned, latest_ns=returned[1])])
    return builder.finish("ns" if timed else "index")


EVIDENCE = Evidence(
    marks="none: strace stops the process at each call, so that nothing is lost",
    complete="strace started the process and the file doesn't break off",
    blind="what a process did before strace attached to it, and what came after the end of a file that breaks off",
)
FORMAT = Format("strace", "strace text (-f, -ttt, -tt, -t, -r)", recognise, read, EVIDENCE, "strace")
