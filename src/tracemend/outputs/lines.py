"""An inferred event as a line of a tracer's text, laid out like the lines around it.

It ends in `` tracemend_inferred gap=G confidence=C`` and, if some of its fields are known, `` fields=C,C``: how sure
each of those is that stand on the line, in their order. Decisions behind the spelling:

* Fields stand as the kernel prints them (``prev_comm=sh prev_pid=12``), whichever tool printed the trace, since every
  reader of such text knows that form. What nobody knows is left out, and nothing stands for it: of a ``prev_state=?``
  Trace Compass makes a thread that goes on running. It does need the commands of a switch, so an unknown one is
  ``<...>``, as ftrace itself has it. Priorities are never known. Perfetto asks a switch for them and passes over these
  (its own output, ``perfetto``, draws them); so does whoever looks for the whole line.
* Where nothing at all is known, a ``?`` stands for arguments and result, never a number. There is no closing
  parenthesis, because Trace Compass stops reading at a line that has anything behind one; for the same reason a call of
  the ``syscalls`` events is spelled by its tracepoint (``sys_enter_openat: ?``), which all readers of ftrace text know,
  and not as ``sys_openat(?)``. Perfetto takes such lines; a tool that insists on numbers (TRAPpy) refuses them: strip
  first.
* A thread that nothing identifies is ``<...>-2147483647``: ftrace's own spelling of an unknown command, and a number
  above every thread number that Linux gives (2^22), yet one that fits the 32 bits consumers have for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

import pyarrow as pa

from tracemend.errors import OutputError
from tracemend.mending.mended import Result
from tracemend.outputs.known import UNKNOWN, Known, known
from tracemend.trace.syscalls import DEFAULT_ARCH, table
from tracemend.untrusted import printable

MARKER = b" tracemend_inferred gap="
UNKNOWN_TID = 2**31 - 1

_WOKEN, _SOFTIRQ = ("comm", "pid", "target_cpu"), ("vec", "action")
#: How the kernel prints the fields of its events: their names in order.
FORMS: dict[str, tuple[str, ...]] = {
    "sched_switch": ("prev_comm", "prev_pid", "prev_state", "==>", "next_comm", "next_pid"),
    "sched_wakeup": _WOKEN,
    "sched_wakeup_new": _WOKEN,
    "sched_waking": _WOKEN,
    "sched_process_fork": ("comm", "pid", "child_comm", "child_pid"),
    "sched_process_exec": ("filename", "pid", "old_pid"),
    "sched_process_exit": ("comm", "pid"),
    "sched_migrate_task": ("comm", "pid", "orig_cpu", "dest_cpu"),
    "irq_handler_entry": ("irq", "name"),
    "irq_handler_exit": ("irq", "ret"),
    "softirq_entry": _SOFTIRQ,
    "softirq_exit": _SOFTIRQ,
    "softirq_raise": _SOFTIRQ,
}

_RAW = re.compile(rb"\bsys_(?:enter|exit):\s+NR ")

#: What lies where in a line of each tracer; the inferred lines copy its widths.
_FTRACE = re.compile(
    rb"(?P<comm>.*?)-(?P<tid>\d+\s+)(?P<tgid>\(\s*[\d-]+\)\s*)?(?P<cpu>\[\d+\])(?P<flags>\s+[^\s:]+(?=\s))?"
    rb"(?P<time>\s+\d+(?P<fraction>\.\d+)?):\s+\S"
)
_PERF = re.compile(
    rb"(?P<comm>.*?)(?P<tid>\s+\d+(?:/\d+)?)\s+(?P<cpu>\[\d+\])?(?P<time>\s*\d+(?P<fraction>\.\d+)?):\s+\S"
)


@dataclass(frozen=True)
class Style:
    """How the lines of one trace are laid out: widths in characters, time with ``digits`` after the point."""

    perf: bool
    comm: int = 16
    tid: int = 8
    tgid: str = ""
    cpu: int = 3
    flags: str = " ....."
    time: int = 14
    digits: int = 6
    ticks: bool = False
    raw: bool = False
    arch: str = DEFAULT_ARCH

    @classmethod
    def of(cls, mended: Result) -> Style:
        """The layout of the trace's first event, and the spelling of its first calls."""
        trace = mended.trace
        perf = trace.format == "perf"
        first, *calls = samples(mended)
        raw = any(_RAW.search(line) for line in calls)
        arch = str((mended.provenance.get("options") or {}).get("arch", DEFAULT_ARCH))
        match = (_PERF if perf else _FTRACE).match(first)
        if match is None and first and trace.format == "ftrace":
            raise OutputError("inferred events can be written among ftrace's lines in the usual form only")
        if match is None:
            return cls(perf, raw=raw, arch=arch, flags="" if perf else " .....")
        group = {k: (v or b"").decode("latin-1") for k, v in match.groupdict().items()}
        return cls(
            perf=perf,
            comm=len(group["comm"]),
            tid=len(group["tid"]),
            tgid=re.sub(r"[\d-]|(?<=\() +", lambda m: "-" * len(m[0]), group.get("tgid", "")),
            cpu=len(group["cpu"]) - 2,
            flags=re.sub(r"\S", ".", group.get("flags", "")),
            time=len(group["time"]),
            digits=max(0, len(group["fraction"]) - 1),
            ticks=trace.clock == "index",
            raw=raw,
            arch=arch,
        )

    def lines(self, inferred: pa.Table) -> Iterator[bytes]:
        """The inferred events as lines, without line ends."""
        thread, event = cache(self._thread), lru_cache(1 << 16)(self._event)
        columns = [inferred[c].to_pylist() for c in ("gap", "cpu", "time_ns", "tid", "confidence")]
        strings = [inferred[c].cast(pa.string()).to_pylist() for c in ("comm", "name", "phase")]
        rows = zip(*columns, *strings, known(inferred), strict=True)
        for gap, cpu, time, tid, sure, comm, name, phase, fields in rows:
            what, how_sure = event(name, phase, fields)
            yield (
                f"{thread(tid, comm, cpu)}{self._time(time)}: {what}"
                f" tracemend_inferred gap={gap} confidence={sure:.2f}{how_sure}"
            ).encode()

    def _thread(self, tid: int, comm: str | None, cpu: int) -> str:
        """Everything in front of the time."""
        command, number = printable(comm or UNKNOWN), str(UNKNOWN_TID if tid < 0 else tid)
        at = f"[{cpu:0{self.cpu}d}]" if self.cpu > 0 else ""
        if self.perf:
            return f"# {command:>{self.comm}}{' ' + number:>{self.tid}} {at}"
        return f"{command:>{self.comm}}-{number + ' ':<{self.tid}}{self.tgid}{at}{self.flags}"

    def _time(self, ns: int) -> str:
        if self.ticks:
            return f" {ns}".rjust(self.time)
        seconds, rest = divmod(ns, 1_000_000_000)
        fraction = f".{rest:09d}"[: self.digits + 1] if self.digits else ""
        return f" {seconds}{fraction}".rjust(self.time)

    def _event(self, name: str, phase: str, fields: tuple[Known, ...]) -> tuple[str, str]:
        """Everything behind the time, and how sure its fields are."""
        name = printable(name)
        if phase == "instant":
            order = {field: i for i, field in enumerate(FORMS.get(name, ()))}
            fields = tuple(sorted(fields, key=lambda field: order.get(field[0], len(order))))
            what = f"{name}: {_printed(FORMS.get(name, ()), dict(f[:2] for f in fields))}"
        else:
            what = self._call(name, phase, dict(f[:2] for f in fields))
        return what, " fields=" + ",".join(f"{sure:.2f}" for *_, sure in fields) if fields else ""

    def _call(self, name: str, phase: str, fields: dict[str, str]) -> str:
        number = _numbers(self.arch).get(name, name.removeprefix("syscall_"))
        told = [value if field == "ret" else f"{field}: {value}" for field, value in fields.items()]
        rest = printable(", ".join(told if "ret" in fields else [*told, "?"]))
        if self.raw and str(number).isdigit():
            call = f"sys_{phase}: NR {number} {rest if phase == 'enter' else f'= {rest}'}"
            return f"raw_syscalls:{call}" if self.perf else call
        call = f"sys_{phase}_{name}: {rest}"
        return f"syscalls:{call}" if self.perf else call


def _printed(form: tuple[str, ...], fields: dict[str, str]) -> str:
    """Fields as the kernel prints them, those that its form has first."""
    words = []
    for word in dict.fromkeys((*form, *fields)):
        value = fields.get(word, UNKNOWN if word.endswith("comm") else None)
        if word == "==>":
            words.append(word)
        elif value is not None:
            value = value.rjust(3, "0") if word == "target_cpu" else value
            words.append(f"[{word}={value}]" if word == "action" else f"{word}={value}")
    return printable(" ".join(words) or "?")


@cache
def _numbers(arch: str) -> dict[str, int]:
    return {name: number for number, name in table(arch).items()}


def samples(mended: Result) -> list[bytes]:
    """The source's lines of the first event and, where there are any, of the first call entered and the first left."""
    wanted = list(mended.outline.lines.values())
    if not wanted or mended.trace.path is None:
        return [b""]
    found: dict[int, bytes] = {}
    with open(mended.trace.path, "rb") as f:
        for number, line in enumerate(f, 1):
            if number in wanted:
                found[number] = line
            if number >= max(wanted):
                break
    return [found.get(number, b"") for number in wanted]
