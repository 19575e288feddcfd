"""What sysdig and Falco print: lines of events (``-t h/a/r/d/D``, ``-pc``, ``-j``), and alerts as text and JSON.

Losses in sysdig: an event of type ``drop`` says that the driver left events out (``ratio``); how many isn't told. With
``-v`` it prints ``Driver Drops:N`` at its end, on stderr: what the kernel's side lost, without a place. In Falco: ``N
system calls dropped in last second``, once as a line of its log, once as an alert; and ``scap.n_drops`` in its metrics.

Event numbers (``evt.num``) are no evidence: a filter makes gaps in them, too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.formats.base import Builder, Clock, Evidence, Format, Options
from tracemend.formats.rows import LATEST_NS, DayClock, Rows, nanoseconds
from tracemend.formats.text import LOOKED_AT, Ints, decode
from tracemend.trace.events import ENTER, EXIT, INSTANT, Mark, Trace
from tracemend.trace.evidence import Doubt, Unplaced
from tracemend.untrusted import json_of

EVENT = re.compile(
    rb"(?P<num>\d{1,18}) (?:(?P<clock>\d\d:\d\d:\d\d\.\d{1,9})|(?P<seconds>\d{1,10}\.\d{9})) (?P<cpu>\d{1,5}) "
    rb"(?P<comm>[^\n]{0,128}?) ?\((?P<tid>-?\d{1,9})(?::-?\d{1,9})?\) (?:(?P<dir>[<>]) )?(?P<type>[a-z_]\w*)"
    rb"(?: (?P<info>.*))?$"
)
#: ``-pc`` puts the container in front of the command.
CONTAINER = re.compile(r".* \((?:[0-9a-f]{12}|host)\) (?=.)")
ALERT = re.compile(
    rb"(?:(?P<clock>\d\d:\d\d:\d\d\.\d{9})|(?P<date>\d{4}-\d\d-\d\dT[\d:.]{8,18})(?:Z|[+-]\d{4})?): "
    rb"(?P<priority>Emergency|Alert|Critical|Error|Warning|Notice|Informational|Info|Debug) (?P<text>.*)$"
)
DROPPED = re.compile(rb"Falco internal: syscall event drop\. (\d+) system calls dropped in last second\.")
DEPLETED = b"Syscall event drop but token bucket depleted"
DETECTED = re.compile(rb"\s*- event drop detected: (\d{1,18}) occurrences")
DRIVER = re.compile(rb"Driver (Events|Drops):(\d{1,20})$")
#: Falco's log: ``Tue May 21 12:55:58 2019: ...``, ``2020-09-14T07:43:15+0000: ...``.
LOG = re.compile(rb"(?:\w{3} \w{3} +\d+ [\d:]{8} \d{4}|\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d{4})?): ")
#: The rest of what both print at their ends, and blank lines.
SILENT = re.compile(
    rb"\s*$|(?:\(\w+\) )?Elapsed time: |Events detected: |Rule counts by severity:|Triggered rules by rule name:"
    rb"|Syscall event drop monitoring:|\s+- num times actions taken: |   \S.*: \d+$|[\[\]]$"
)
#: Events that are no calls, though they are printed as if something were entered.
NO_CALLS = {
    *("switch", "procexit", "signaldeliver", "page_fault", "container", "notification"),
    *("infra", "tracer", "cpu_hotplug", "processinfo", "meta"),
}
#: Seconds below this are no date (it was 1973).
EARLIEST_DATE_NS = 100_000_000 * 1_000_000_000
SECOND_NS = 1_000_000_000


def recognise(head: bytes) -> bool:
    """Whether one of the first lines is an event of sysdig's, or Falco's."""
    looked = 0
    for text in head.splitlines():
        if EVENT.match(text, 0, 512) or ALERT.match(text) or DROPPED.search(text, 0, 512):
            return True
        found = _object(text)
        if found is not None and ("evt.num" in found or {"rule", "priority", "output"} <= found.keys()):
            return True
        looked += not SILENT.match(text)
        if looked > LOOKED_AT:
            break
    return False


def _object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that a line is, in an array or not; None if it is none."""
    text = text.strip(b" ,\r[")
    if not text.startswith(b"{"):
        return None
    try:
        found = json_of(text.rstrip(b"]"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class _Reader:
    """The state between lines: clocks, what was said of drops."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.rows = Rows(builder)
        self.marks: list[Mark] = []
        self.clock = DayClock()
        self.seconds = False  # times are numbers of seconds, of which kind the whole text tells
        self.driver: dict[bytes, int] = {}
        self.falco = False
        self.told: tuple[bool, int | None] | None = None  # the last drop that Falco told: by an alert or not, how many
        self.metrics = 0

    def line(self, line: int, text: bytes) -> None:
        event = EVENT.match(text)
        if event:
            self._event(event, line)
            return
        found = _object(text)
        alert = None if found else ALERT.match(text)
        dropped = None if found else DROPPED.search(text)
        if found and "evt.num" in found:
            self._object(found, line)
        elif found and "rule" in found:
            self._alert_object(found, line)
        elif dropped:
            self.falco = True
            alerts = list(re.finditer(rb"(\d\d:\d\d:\d\d\.\d{9}): \w+ (?=Falco internal)", text))
            time = self.clock.read(*alerts[-1][1].split(b":")) if alerts else None
            self._dropped(dropped[1], bool(alerts), time, line)
        elif alert:
            self.falco = True
            time = _date_ns(decode(alert["date"])) if alert["date"] else self.clock.read(*alert["clock"].split(b":"))
            self._alert(decode(alert["priority"]), decode(alert["text"]), time, line)
        else:
            self._other(line, text)

    def _event(self, event: re.Match[bytes], line: int) -> None:
        if event["clock"]:
            time = self.clock.read(*event["clock"].split(b":"))
        else:
            self.seconds, time = True, nanoseconds(event["seconds"])
        comm = CONTAINER.sub("", decode(event["comm"]), count=1)
        info = None if event["info"] is None else decode(event["info"])
        self._add((time, int(event["cpu"]), int(event["tid"])), comm, (decode(event["type"]), event["dir"]), info, line)

    def _add(
        self, where: tuple[int, int, int], comm: str, what: tuple[str, bytes | None], info: str | None, line: int
    ) -> None:
        """Add an event; ``where``: time, cpu and thread, ``what``: its type and direction."""
        kind, direction = what
        if kind == "drop":
            self.marks.append(Mark(where[1], len(self.rows), None, line))
            return
        phase = {b">": ENTER, b"<": EXIT}.get(direction or b"", INSTANT) if kind not in NO_CALLS else INSTANT
        code = -1 if comm in ("", "<NA>") else self.builder.comms(comm)
        args, ret = (None, info) if phase == EXIT else (info, None)
        self.rows.found.append((*where, code, self.builder.names(kind), phase, args, ret, line))

    def _object(self, found: dict[str, Any], line: int) -> None:
        """An event as ``-j`` prints it."""
        time = found.get("evt.outputtime", found.get("evt.time", found.get("evt.rawtime")))
        numbers = [time, found.get("evt.cpu", -1), found.get("thread.tid", -1)]
        match time if isinstance(time, str) else "":
            case text if re.fullmatch(r"\d\d:\d\d:\d\d\.\d{1,9}", text):
                numbers[0] = self.clock.read(*text.encode().split(b":"))
            case text if re.fullmatch(r"\d{1,18}", text):
                numbers[0] = int(text)
        kind = found.get("evt.type")
        if not all(type(n) is int for n in numbers) or not isinstance(kind, str) or not _fits(*numbers):
            self.builder.bad(line, f"an event without its time, cpu, thread or type: {str(found)[:80]!r}")
            return
        direction = str(found.get("evt.dir", "")).encode()
        info = found.get("evt.info", found.get("evt.args"))
        where = numbers[0], numbers[1], numbers[2]
        self._add(
            where, str(found.get("proc.name") or ""), (kind, direction), None if info is None else str(info), line
        )

    def _alert_object(self, found: dict[str, Any], line: int) -> None:
        """An alert of Falco's as JSON."""
        self.falco = True
        time, fields = _date_ns(str(found.get("time"))), found.get("output_fields")
        fields = fields if isinstance(fields, dict) else {}
        output = str(found.get("output", ""))
        dropped = DROPPED.search(output.encode(errors="replace"))
        drops = str(fields.get("scap.n_drops", ""))
        if drops.isdigit() and drops.isascii() and len(drops) < 19:
            self.metrics = max(self.metrics, int(drops))
        if dropped:
            self._dropped(dropped[1], True, time, line)
        elif not str(found["rule"]).startswith("Falco internal"):
            self._alert(str(found["rule"]), output, time, line)

    def _alert(self, name: str, text: str, time: int | None, line: int) -> None:
        if time is None:
            self.builder.bad(line, "an alert without its time")
            return
        self.rows.found.append((time, -1, -1, -1, self.builder.names(name), INSTANT, text, None, line))

    def _dropped(self, number: bytes, alert: bool, time: int | None, line: int) -> None:
        """What Falco's log says it says again as an alert: of two that agree in a row, one."""
        count = self.builder.count(line, number)
        if self.told == (not alert, count):
            self.told = None
            return
        self.told = alert, count
        begin = None if time is None else time - SECOND_NS
        self.marks.append(Mark(-1, len(self.rows), count, line, begin, time))

    def _other(self, line: int, text: bytes) -> None:
        driver, detected = DRIVER.match(text), DETECTED.match(text)
        if driver:
            self.driver[driver[1]] = int(driver[2])
            if driver[1] == b"Drops" and int(driver[2]):
                said = f"its driver dropped {int(driver[2]):,} events"
                self.builder.unplaced.append(Unplaced(said, int(driver[2]), line=line))
        elif detected:
            self.falco = True
            if int(detected[1]) > len(self.marks):
                said = f"Falco found drops in {int(detected[1]):,} seconds, more than it tells of one by one"
                self.builder.unplaced.append(Unplaced(said, None, line=line))
        elif DEPLETED in text:
            self.falco = True
            self.marks.append(Mark(-1, len(self.rows), None, line))
        elif LOG.match(text):
            self.falco = True
        elif not SILENT.match(text):
            self.builder.bad(line, f"no line of sysdig or Falco: {decode(text[:80])!r}")

    def finish(self) -> Trace:
        numbers = self.rows.numbers()
        clock = _settle(numbers) if self.seconds else "ns"
        self.rows.finish(numbers, self.marks)
        builder = self.builder
        beyond = self.metrics - sum(m.count or 0 for m in self.marks)
        if beyond > 0:
            said = f"Falco's metrics count {beyond:,} drops of the driver beyond those that it tells of one by one"
            builder.unplaced.append(Unplaced(said, beyond))
        builder.tracer = "falco" if self.falco else "sysdig"
        if self.falco:
            builder.doubts.append(FALCO)
        elif self.driver.get(b"Drops") != 0 or not self.driver.get(b"Events"):
            builder.doubts.append(SYSDIG)
        return builder.finish(clock)


def _fits(time: int, cpu: int, tid: int) -> bool:
    return 0 <= time <= LATEST_NS and -1 <= cpu < 1 << 16 and -1 <= tid < 1 << 31


def _date_ns(text: str) -> int | None:
    """An ISO date in nanoseconds since 1970, read as UTC; None if it is none."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?", text)
    try:
        seconds = datetime.fromisoformat(found[1]).replace(tzinfo=UTC).timestamp() if found else -1
    except ValueError:
        return None
    time = int(seconds) * SECOND_NS + int(((found and found[2]) or "0").ljust(9, "0"))
    return time if found and 0 <= time <= LATEST_NS else None


def _settle(numbers: Ints) -> Clock:
    """What numbers of seconds are: dates or distances from the beginning (``-t a``, ``-t r``), which run on; distances
    from the event before (``-t D``), which add up; or how long calls took (``-t d``, 0 at each enter), which are no
    times at all. Puts the times in, and returns the clock."""
    time, phase = numbers[0], numbers[5]
    if not len(time) or time[0] >= EARLIEST_DATE_NS or 10 * (np.diff(time) < 0).sum() <= len(time):
        return "ns"
    if (time[phase == ENTER] == 0).all():
        numbers[0] = np.arange(len(time))
        return "index"
    total = np.cumsum(time.astype(np.float64))
    numbers[0] = np.arange(len(time)) if total[-1] > LATEST_NS else np.cumsum(time)
    return "index" if total[-1] > LATEST_NS else "ns"


def read(path: Path, options: Options) -> Trace:
    """Read what sysdig or Falco printed; raises TraceError."""
    reader = _Reader(Builder(path, "sysdig", options))
    for line, text in reader.rows.lines():
        reader.line(line, text)
    return reader.finish()


SYSDIG = Doubt(
    "sysdig tells what its driver dropped only at its end, with -v, on stderr, and of a file that it reads (-r) never",
    "Record with -v and keep stderr (2>&1): Driver Drops must be 0.",
)
FALCO = Doubt(
    "Falco tells of drops only above a threshold, and not of all of them when there are many",
    "Look at scap.n_drops in its metrics, or set syscall_event_drops to threshold 0 with a rate that is high enough.",
)
EVIDENCE = Evidence(
    marks="events of type drop, Driver Drops:n (-v), Falco's n system calls dropped in last second, its scap.n_drops",
    complete="Driver Drops:0 of a driver that saw events (sysdig -v of a live system)",
    blind="all that the driver dropped, if sysdig ran without -v or stderr wasn't kept; what Falco doesn't tell",
)
FORMAT = Format("sysdig", "sysdig and Falco text or JSON lines", recognise, read, EVIDENCE)
