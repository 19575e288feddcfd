"""What the names of events stand for: the begin or end of a system call, as LTTng and perf name it, or themselves."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from tracemend.formats.base import Builder
from tracemend.formats.ctf.decode import Plan
from tracemend.formats.ctf.metadata import EventClass
from tracemend.trace.events import ENTER, EXIT, INSTANT
from tracemend.trace.syscalls import call_name, canonical

#: A system call in the names of LTTng (since 2.6, before, and for 32-bit programs) and of perf.
NAMED = re.compile(
    r"(?P<compat>compat_(?=sys))?(?:syscall_(?P<lttng>entry|exit)_|syscalls:sys_(?P<perf>enter|exit)_|sys_)(?P<call>\w+)"
)
NUMBERED = re.compile(r"(?:raw_syscalls:)?sys_(enter|exit)")
#: The exit of whatever call the thread was in (LTTng before 2.6).
OLD_EXIT = "exit_syscall"


class Kinds:
    """What a row is, as one code: a name and a phase."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.codes: dict[tuple[str, int], int] = {}
        self.old_exit = -1

    def __call__(self, name: str, phase: int) -> int:
        return self.codes.setdefault((name, phase), len(self.codes))

    def name(self, code: int) -> str:
        return list(self.codes)[code][0]

    def plan(self, event: EventClass) -> Plan:
        """What the rows of an event class are."""
        fields = dict(event.fields.members) if event.fields else {}
        raw = NUMBERED.fullmatch(event.name)
        if raw and ("id" in fields or "_id" in fields):
            phase = ENTER if raw[1] == "enter" else EXIT
            return Plan(_Numbers(self, phase), "id", has_ret=phase == EXIT)
        if event.name == OLD_EXIT:
            self.old_exit = self(OLD_EXIT, EXIT)
            return Plan(self.old_exit, has_ret=True)
        named = NAMED.fullmatch(event.name)
        if named is None:
            return Plan(self(event.name, INSTANT))
        phase = EXIT if "exit" in (named["lttng"], named["perf"]) else ENTER
        if named["call"] == "unknown" and not named["compat"] and ("id" in fields or "_id" in fields):
            return Plan(_Numbers(self, phase), "id", has_ret=phase == EXIT)
        return Plan(self(canonical(named["call"]), phase), has_ret=phase == EXIT)

    def tables(self) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """Each code's name, as the builder numbers names, and phase."""
        names = [self.builder.names(name) for name, _ in self.codes]
        return np.array(names, np.int32), np.array([phase for _, phase in self.codes], np.int8)


class _Numbers(dict[int, int]):
    """Numbers of system calls to the codes of their rows."""

    def __init__(self, kinds: Kinds, phase: int) -> None:
        self.kinds, self.phase = kinds, phase

    def __missing__(self, number: int) -> int:
        name = call_name(number, self.kinds.builder.options.arch)
        self[number] = code = self.kinds(name, self.phase)
        return code
