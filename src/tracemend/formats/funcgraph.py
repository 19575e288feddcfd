"""The text of ftrace's ``function_graph`` tracer: calls and returns of the kernel's functions, as an indented program.

    3)   0.081 us    |      pick_task_fair();        a call and its return
    3)               |      schedule() {             a call
    3)   3.447 us    |      }                        its return

A function that calls no other is one line and two events. A return seldom says of what: it is of the innermost call on
its cpu (of its thread, where lines name it) that hasn't returned. Lines have a time only with ``funcgraph-abstime``;
without it positions stand in. The thread is known with ``funcgraph-proc``, and from where the cpu changed to another.
An event of another kind stands as a comment among the calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from tracemend.formats.base import Builder
from tracemend.formats.rows import nanoseconds
from tracemend.formats.text import Lines, decode
from tracemend.trace.events import ENTER, EXIT, INSTANT

HEADER = b"# tracer: function_graph"
LINE = re.compile(
    rb"\s*+(?:(?P<time>\d{1,9}\.\d{6}) \|\s++)?(?:\d+ us \|\s++)?(?:(?P<cpu>\d{1,5})\)\s++)?"
    rb"(?:(?P<comm>[^|]{1,40}?)-(?P<tid>\d{1,9})\s++\|\s++)?(?:[^\s|]{4,8}\s*+\|\s++)?"
    rb"(?:[$*@!#+] ?\s*+)?(?:(?P<us>\d{1,12}(?:\.\d{1,3})?) us\s++)?(?P<bar>\|\s++)?(?P<what>\S.*)"
)
CALL = re.compile(
    rb"(?P<name>[\w.$<>:+/-]+(?: \[[\w-]+\])?)\((?P<args>.*)\)(?P<leaf>;| \{)\s*(?:/\*(?P<said>.*)\*/)?\s*$"
)
RETURN = re.compile(
    rb"\}\s*(?:/\*(?: (?P<name>[A-Za-z_.][\w.$]*(?: \[[\w-]+\])?)(?= (?:\*/|=|<-)))?(?P<said>.*)\*/)?\s*$"
)
RESULT = re.compile(rb"= ?(\S+)")
COMMENT = re.compile(rb"/\* (?P<name>[\w.$]+)(?:: ?(?P<args>.*?))? ?\*/\s*$")
SWITCH = re.compile(rb"\s*+(?P<cpu>\d{1,5})\)\s+\S.*?-(?P<was>\d{1,9})\s+=>\s+(?P<comm>\S.*?)-(?P<tid>\d{1,9})\s*$")
INTERRUPT = re.compile(rb".*(?:=+> ?\||<=+ ?\|)\s*$|\s*-+\s*$")
#: A return of which the call isn't there.
UNKNOWN = "unknown"
#: The calls that may be open at once in a thread: more than the kernel follows.
DEEPEST = 512
#: A longer line is none of the tracer's, which bounds the work on one made up to be slow.
LONGEST, LONGEST_SWITCH = 4096, 128


def matches(text: bytes) -> bool:
    """Whether a line is a call, a return or a comment of the tracer's, by itself."""
    line = LINE.match(text) if len(text) <= LONGEST else None
    if line is None or not (line["cpu"] or line["us"]) or not line["bar"]:
        return False
    return bool(CALL.match(line["what"]) or RETURN.match(line["what"]) or COMMENT.match(line["what"]))


@dataclass(slots=True)
class Graph:
    """What is known up to a line: ``open`` calls (indentation, name) by thread, or by cpu where that isn't known, and
    the ``thread`` (command, number) that a cpu is at.
    """

    builder: Builder
    timed: bool | None = None
    index: int = 0
    open: dict[tuple[int, int], list[tuple[int, int]]] = field(default_factory=dict)
    thread: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: Time, cpu, thread, command, name, phase, line; and arguments and result.
    _numbers: list[tuple[int, ...]] = field(default_factory=list)
    _words: list[tuple[str | None, str | None]] = field(default_factory=list)

    def read(self, lines: Lines, other: Callable[[int, int, bytes], None]) -> None:
        """Add the events of a chunk; ``other(row, line, text)`` gets every line that is none."""
        for i in range(len(lines)):
            text = lines.text(i)
            line = lines.first + i
            short = len(text) <= LONGEST_SWITCH
            switch = SWITCH.match(text) if short and b"=>" in text else None
            if switch:
                cpu = int(switch["cpu"])
                if cpu not in self.thread:
                    self.open[_owner(int(switch["was"]), cpu)] = self.open.pop((-1, cpu), [])
                self.thread[cpu] = self.builder.comms(decode(switch["comm"])), int(switch["tid"])
            elif not self._event(line, text) and not (short and INTERRUPT.match(text)):
                marks = len(self.builder.marks)
                other(self.builder.rows + len(self._numbers), line, text)
                if len(self.builder.marks) > marks:
                    self.open.clear()  # what returns from here on may be of a call that was lost
        if self._numbers:
            time, cpu, tid, comm, name, phase, at = np.array(self._numbers, np.int64).T
            args, ret = zip(*self._words, strict=True)
            self.builder.add(
                time_ns=np.ascontiguousarray(time),
                cpu=cpu.astype(np.int32),
                tid=tid.astype(np.int32),
                comm=comm.astype(np.int32),
                name=name.astype(np.int32),
                phase=phase.astype(np.int8),
                args=pa.array(args, pa.string()),
                ret=pa.array(ret, pa.string()),
                line=np.ascontiguousarray(at),
            )
            self._numbers, self._words = [], []

    def _event(self, line: int, text: bytes) -> bool:
        """Add the events of a line; False if it has none."""
        found = None if text.startswith(b"#") or len(text) > LONGEST else LINE.match(text)
        if found is None or self.timed not in (None, found["time"] is not None):
            return False
        call = CALL.match(found["what"])
        back = None if call else RETURN.match(found["what"])
        comment = None if call or back else COMMENT.match(found["what"])
        if not (call or back or comment):
            return False
        self.timed = found["time"] is not None
        cpu = int(found["cpu"]) if found["cpu"] else -1
        if found["tid"]:
            self.thread[cpu] = self.builder.comms(decode(found["comm"].strip())), int(found["tid"])
        comm, tid = self.thread.get(cpu, (-1, -1))
        calls = self.open.setdefault(_owner(tid, cpu), [])
        depth = found.start("what") - max(0, found.start("bar"))
        who = cpu, tid, comm
        if call:
            name = self.builder.names(decode(call["name"]))
            self._put(found, who, (name, ENTER, line), (decode(call["args"]) or None, None))
            if call["leaf"] == b";":
                self._put(
                    found, who, (name, EXIT, line), (None, _result(call["said"])), nanoseconds(found["us"] or b"0", 3)
                )
            elif len(calls) < DEEPEST:
                calls.append((depth, name))
        elif back:
            while calls and calls[-1][0] > depth:
                calls.pop()
            name = calls.pop()[1] if calls and calls[-1][0] == depth else -1
            if back["name"] or name < 0:
                name = self.builder.names(decode(back["name"]) if back["name"] else UNKNOWN)
            self._put(found, who, (name, EXIT, line), (None, _result(back["said"])))
        elif comment:
            name = self.builder.names(decode(comment["name"]))
            self._put(found, who, (name, INSTANT, line), (decode(comment["args"] or b""), None))
        return True

    def _put(
        self,
        found: re.Match[bytes],
        who: tuple[int, int, int],
        what: tuple[int, int, int],
        words: tuple[str | None, str | None],
        after_ns: int = 0,
    ) -> None:
        """Add one event, so long after the line's time, which is cut off to microseconds as that is."""
        time = self.index
        if found["time"]:
            time = (int(found["time"].replace(b".", b"")) + after_ns // 1000) * 1000
        self.index += 1
        self._numbers.append((time, *who, *what))
        self._words.append(words)


def _owner(tid: int, cpu: int) -> tuple[int, int]:
    """Whose calls they are: a thread takes its own along to another cpu, an idle cpu and an unknown thread don't."""
    return (tid, -1) if tid > 0 else (tid, cpu)


def _result(said: bytes | None) -> str | None:
    found = RESULT.search(said) if said else None
    return decode(found[1]) if found else None
