"""tracerpt's XML: each event is taken out of the text and parsed alone.

So one that is damaged takes no other along, and nothing in front of the events (a document type, entities) is parsed.
"""

from __future__ import annotations

import io
import re
from datetime import date
from functools import lru_cache
from xml.etree import ElementTree

from tracemend.formats.kernel import LATEST
from tracemend.formats.text import LONGEST_LINE
from tracemend.formats.tracerpt import EVENT
from tracemend.formats.tracerpt.rows import CUT, LOG_CLASS, LOST_CLASS, Event, Rows, is_of, number, small

CLOSING = "</Event>"
TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))?", re.ASCII)
#: What no XML may have, be it spelled out as a number.
NO_XML = re.compile(
    r"&#(?:x0*(?:[0-8bcefBCEF]|1[0-9a-fA-F])|0*(?:[0-8]|1[124-9]|2\d|3[01]));|[\x00-\x08\x0b\x0c\x0e-\x1f]"
)


def read(text: io.TextIOWrapper, rows: Rows) -> None:
    """Take in all events."""
    held, line = "", 1
    while piece := text.read(1 << 18):
        held += piece
        at = 0
        while (end := held.find(CLOSING, at)) >= 0:
            begin = EVENT.search(held, at, end)
            if begin is not None:
                line += held.count("\n", at, begin.start())
                at = begin.start()
            alone = held[at : end + len(CLOSING)]
            problem = _element(alone, line, rows) if begin is not None else "the end of an event that has no beginning"
            if problem:
                rows.builder.bad(line, problem)
            line += held.count("\n", at, end)
            at = end + len(CLOSING)
        held = held[at:]
        if len(held) > LONGEST_LINE:
            rows.builder.bad(line, "more than 1 MiB without the end of an event")
            line += held.count("\n", 0, -len(CLOSING))
            held = held[-len(CLOSING) :]
    if EVENT.search(held):
        rows.builder.bad(line, "the file ends within an event")
    if "</Events>" not in held:
        rows.builder.doubts.append(CUT)


def _element(text: str, line: int, rows: Rows) -> str:
    """Take in one event of XML; what is wrong with it, if anything is."""
    try:
        root = ElementTree.fromstring(NO_XML.sub("", text))
    except (ElementTree.ParseError, ValueError) as e:
        return f"not well-formed: {e}"
    parts = {_local(e): e for e in root}
    system = {_local(e): e for e in parts.get("System", ())}
    rendered = {_local(e): (e.text or "").strip() for e in parts.get("RenderingInfo", ())}
    extended = {_local(e): (e.text or "").strip() for e in parts.get("ExtendedTracingInfo", ())}
    data = [(e.get("Name", ""), (e.text or "").strip()) for e in parts.get("EventData", ())]
    guid = extended.get("EventGuid") or _attribute(system, "Provider", "Guid")
    opcode = (system["Opcode"].text or "").strip() if "Opcode" in system else ""
    named = dict(data)
    provider = rendered.get("EventName") or ""
    if (is_of(provider, LOG_CLASS) or is_of(guid, LOG_CLASS)) and (not opcode or number(opcode) == 0):
        told = ("EndTime", "LogFileMode", "EventsLost", "BuffersLost")
        rows.logs.append({key: number(named.get(key, "")) for key in told})
        return ""
    time = _time(_attribute(system, "TimeCreated", "SystemTime"))
    if time is None:
        return "an event without a time that can be"
    kind = rendered.get("Opcode") or opcode
    if is_of(provider, LOST_CLASS) or is_of(guid, LOST_CLASS):
        rows.tell_lost(opcode)
    number_told = number(system["EventID"].text or "") if "EventID" in system else None
    provider = provider or _attribute(system, "Provider", "Name") or guid or "unknown"
    process, thread, cpu = (small(_attribute(system, "Execution", a)) for a in ("ProcessID", "ThreadID", "ProcessorID"))
    args = ", ".join(f"{key}={value}" if key else value for key, value in data)
    rows.add(Event(time, cpu, thread, process, f"{provider}/{number_told or kind}", args, line))
    return ""


def _local(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _attribute(system: dict[str, ElementTree.Element], element: str, name: str) -> str:
    return system[element].get(name, "") if element in system else ""


@lru_cache(maxsize=1024)
def _day(year: str, month: str, day: str) -> int | None:
    try:
        return date(int(year), int(month), int(day)).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None


def _time(text: str) -> int | None:
    """A moment in nanoseconds since 1970. Offsets are rounded to quarters: tracerpt is a minute off at times."""
    found = TIME.fullmatch(text)
    day = _day(*found.groups()[:3]) if found else None
    if found is None or day is None:
        return None
    hours, minutes, seconds = (int(found[k]) for k in (4, 5, 6))
    sign, offset = -1 if found[8] == "-" else 1, 0
    if found[8]:
        offset = sign * ((int(found[9]) * 60 + int(found[10]) + 7) // 15 * 15)
    time = ((day * 24 + hours) * 60 + minutes - offset) * 60 + seconds
    time = time * 10**9 + int((found[7] or "").ljust(9, "0"))
    return time if 0 <= time <= LATEST else None
