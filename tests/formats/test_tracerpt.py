"""tracerpt's CSV and XML. All samples are made up, in the shape of the documentation's and of public ones."""

from __future__ import annotations

import codecs
import gzip
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_formats_robust import attempt, check

from tracemend.api import mend
from tracemend.errors import TraceError
from tracemend.formats import read, recognise
from tracemend.trace.events import Trace

COLUMNS = (
    "Event Name, Type, Event ID, Version, Channel, Level, Opcode, Task, Keyword, PID, TID, Processor Number, "
    "Instance ID, Parent Instance ID, Activity ID, Related Activity ID, Clock-Time, Kernel(ms), User(ms), User Data"
)
#: 1 October 2024, in 100 ns since 1601 and in nanoseconds since 1970.
TICK, NS = 133_722_144_000_000_000, 1_727_740_800_000_000_000
NONE = "{00000000-0000-0000-0000-000000000000}"


def row(name: str, type: str, id: int, tid: int, cpu: int, tick: int, data: str = "") -> str:
    what = f"{name:>10},{type:>11},{id:>10},  0,  0,  0,  0,  0, 0x0000000000000000, 0x00001A2C, 0x{tid:08X},"
    return f"{what} {cpu:>7},          ,          ,{NONE},          ,{tick:>20},     15,      0, {data}"


def csv_log(events: int = 0, buffers: int = 0, end: int = TICK + 10**9, mode: int = 1) -> str:
    """The row that describes the log."""
    data = (
        f"65536, 83951626, 19041, 4, {end}, 156250, 0, 0x{mode:08X}, 12, 1, 8, {events}, 2904, 0x0, 0x0, 4294967236, "
    )
    data += f'"Zone, Standard", {TICK - 10**12}, 10000000, {TICK}, 1, {buffers}, "NT Kernel Logger", "C:\\k.etl"'
    return row("EventTrace", "Header", 0, 9, 0, TICK, data)


ROWS = [
    row("Thread", "CSwitch", 0, 0xFFFFFFFF, 1, TICK + 10, " 6012, 0, 8"),
    row("FileIo", "Create", 0, 0x1770, 0, TICK + 12, '0xFFFF, "C:\\a, b.txt", 3'),
    row("Microsoft-Windows-DXGI", "Start", 42, 0x1770, 0, TICK + 15, "0x1, 2"),
]
EVENTS = [
    (NS + 1000, 1, -1, "Thread/CSwitch", "6012, 0, 8"),
    (NS + 1200, 0, 6000, "FileIo/Create", '0xFFFF, "C:\\a, b.txt", 3'),
    (NS + 1500, 0, 6000, "Microsoft-Windows-DXGI/42", "0x1, 2"),
]


def table(*rows: str) -> str:
    return "".join(f"{r}\r\n" for r in (COLUMNS, *rows))


SPACE = "http://schemas.microsoft.com/win/2004/08/events"


def element(
    time: str,
    *,
    id: int = 0,
    opcode: int = 36,
    cpu: int = 1,
    tid: int = 6000,
    data: str = "",
    named: str = "",
    guid: str = "",
) -> str:
    about = f'<Provider Name="{named}" Guid="{{11111111-0000-0000-0000-000000000000}}" />' if named else "<Provider />"
    return f"""<Event xmlns="{SPACE}/event">
\t<System>
\t\t{about}
\t\t<EventID>{id}</EventID>
\t\t<Version>2</Version>
\t\t<Level>0</Level>
\t\t<Task>0</Task>
\t\t<Opcode>{opcode}</Opcode>
\t\t<Keywords>0x0</Keywords>
\t\t<TimeCreated SystemTime="{time}" />
\t\t<Correlation ActivityID="{NONE}" />
\t\t<Execution ProcessID="4" ThreadID="{tid}" ProcessorID="{cpu}" KernelTime="0" UserTime="15" />
\t\t<Channel />
\t\t<Computer />
\t</System>
\t<EventData>{data}
\t</EventData>{"" if named else rendered(opcode, guid)}
</Event>
"""


NAMES = {36: "CSwitch", 0: "Header", 64: "Create"}


def rendered(opcode: int, guid: str) -> str:
    name = "EventTrace" if guid.startswith("{68fdd900") else "Thread"
    return f"""
\t<RenderingInfo Culture="en-US">
\t\t<Opcode>{NAMES.get(opcode, opcode)}</Opcode>
\t\t<Provider>MSNT_SystemTrace</Provider>
\t\t<EventName xmlns="{SPACE}/trace">{name}</EventName>
\t</RenderingInfo>
\t<ExtendedTracingInfo xmlns="{SPACE}/trace">
\t\t<EventGuid>{guid or "{3d6fa8d1-fe05-11d0-9dda-00c04fd7ba7c}"}</EventGuid>
\t</ExtendedTracingInfo>"""


def xml_log(events: int = 0, buffers: int = 0, end: int = TICK + 10**9, mode: int = 1) -> str:
    values = {"BufferSize": 65536, "EndTime": end, "LogFileMode": f"0x{mode:X}"}
    values |= {"EventsLost": events, "BuffersLost": buffers}
    data = "".join(f'\n\t\t<Data Name="{k}">{v}</Data>' for k, v in values.items())
    guid = "{68fdd900-4a3e-11d1-84f4-0000f80464e3}"
    return element("2024-10-01T00:00:00.000000000Z", opcode=0, cpu=0, data=data, guid=guid)


ELEMENTS = [
    element("2024-10-01T00:00:00.000001000Z", data='<Data Name="NewThreadId">6012</Data><Data Name="Old">0</Data>'),
    element("2024-10-01T03:00:00.000001200+02:59", id=42, named="Some-Provider", cpu=0),
]
XML_EVENTS = [
    (NS + 1000, 1, 6000, "Thread/CSwitch", "NewThreadId=6012, Old=0"),
    (NS + 1200, 0, 6000, "Some-Provider/42", None),
]


def document(*events: str) -> str:
    return "<Events>\n" + "".join(events) + "</Events>\n"


def trace_of(text: str | bytes, folder: Path, **options: bool) -> Trace:
    path = folder / "dumpfile"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert recognise(path).name == "tracerpt"
    trace = read(path, **options)  # type: ignore[arg-type]
    check(trace)
    return trace


def events(trace: Trace) -> list[tuple[object, ...]]:
    return list(zip(*(trace.table[c].to_pylist() for c in ("time_ns", "cpu", "tid", "name", "args")), strict=True))


BOTH = [
    pytest.param(table(csv_log(), *ROWS), EVENTS, id="csv"),
    pytest.param(document(xml_log(), *ELEMENTS), XML_EVENTS, id="xml"),
]


@pytest.mark.parametrize(("text", "expected"), BOTH)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gzip"])
def test_events_in_every_encoding(tmp_path: Path, text: str, expected: list[object], encoding: str) -> None:
    if encoding == "gzip":
        raw = gzip.compress(text.encode())
    elif encoding == "utf-16-be":
        raw = codecs.BOM_UTF16_BE + text.encode(encoding)
    else:
        raw = text.encode(encoding)
    trace = trace_of(raw, tmp_path)
    assert events(trace) == expected
    assert not trace.unplaced
    assert not trace.doubts
    assert trace.passed_over is None
    assert not trace.gaps
    assert (trace.format, trace.tracer) == ("tracerpt", "etw")


@pytest.mark.parametrize("log", [csv_log, xml_log])
def test_what_the_header_tells_of_losses(tmp_path: Path, log: object) -> None:
    def made(**about: int) -> Trace:
        told = log(**about)  # type: ignore[operator]
        return trace_of(table(told, *ROWS) if log is csv_log else document(told, *ELEMENTS), tmp_path)

    assert [(u.count, u.unit) for u in made(events=7).unplaced] == [(7, "events")]
    assert [(u.count, u.unit) for u in made(buffers=3).unplaced] == [(3, "buffers")]
    (doubt,) = made(end=0).doubts
    assert "never closed" in doubt.why
    (doubt,) = made(mode=2).doubts
    assert "overwrites" in doubt.why


@pytest.mark.parametrize("text", [table(*ROWS), document(*ELEMENTS)])
def test_without_a_header_nobody_can_tell(tmp_path: Path, text: str) -> None:
    (doubt,) = trace_of(text, tmp_path).doubts
    assert "Header" in doubt.why
    assert doubt.remedy
    assert not doubt.unless


def test_a_header_without_lost_buffers_is_a_doubt(tmp_path: Path) -> None:
    short = csv_log().partition(f", {TICK - 10**12}")[0]
    (doubt,) = trace_of(table(short, *ROWS), tmp_path).doubts
    assert "how many buffers" in doubt.why


@pytest.mark.parametrize("name", ["RT_LostEvent", "{6A399AE0-4BC6-4DE9-870B-3657F8947E7E}"])
def test_records_of_losses(tmp_path: Path, name: str) -> None:
    rows = [row(name, "RTLostEvent", 0, 1, 0, TICK + 1), row(name, "33", 0, 1, 0, TICK + 2)]
    found = trace_of(table(csv_log(), *ROWS, *rows), tmp_path).unplaced
    assert [(u.said, u.count, u.unit) for u in found] == [
        ("1 records say RTLostEvent", None, "events"),
        ("1 records say RTLostBuffer", None, "buffers"),
    ]
    guid = "{6a399ae0-4bc6-4de9-870b-3657f8947e7e}"
    lost = element("2024-10-01T00:00:01Z", opcode=34, guid=guid)
    (file,) = trace_of(document(xml_log(), *ELEMENTS, lost), tmp_path).unplaced
    assert file.said == "1 records say RTLostFile"


def test_a_string_with_a_line_end_is_one_row(tmp_path: Path) -> None:
    broken = row("App", "Info", 5, 7, 0, TICK + 20, '"first\r\nsecond"')
    trace = trace_of(table(csv_log(), *ROWS, broken, ROWS[0]), tmp_path)
    assert len(trace) == 5
    assert trace.passed_over is None


@pytest.mark.parametrize("cut", [15, 40])
def test_a_file_that_breaks_off(tmp_path: Path, cut: int) -> None:
    trace = trace_of(table(csv_log(), *ROWS)[:-cut], tmp_path)
    assert "breaks off" in trace.doubts[0].why
    trace = trace_of(document(xml_log(), *ELEMENTS)[:-cut], tmp_path)
    assert "breaks off" in trace.doubts[0].why
    assert trace.passed_over is not None
    assert len(trace) == 1


def test_bad_pieces_are_passed_over(tmp_path: Path) -> None:
    raw = row("App", "Info", 5, 7, 0, 2_745_263_251_517)
    text = table(csv_log(), ROWS[0], "what is this", raw, ROWS[2])
    trace = trace_of(text, tmp_path)
    assert len(trace) == 2
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line) == (2, 4)
    with pytest.raises(TraceError, match="not a row of tracerpt's") as e:
        trace_of(text, tmp_path, strict=True)
    assert e.value.line == 4
    broken = ELEMENTS[0].replace("<System>", "<Sys")
    trace = trace_of(document(xml_log(), ELEMENTS[0], broken, ELEMENTS[1]), tmp_path)
    assert events(trace) == XML_EVENTS
    line = 2 + (xml_log() + ELEMENTS[0]).count("\n")
    assert trace.passed_over is not None
    assert (trace.passed_over.number, trace.passed_over.line) == (1, line)


def test_characters_that_xml_may_not_have_are_left_out(tmp_path: Path) -> None:
    text = ELEMENTS[0].replace("6012", "60&#x1;\x0112&#31;")
    trace = trace_of(document(xml_log(), text, ELEMENTS[1]), tmp_path)
    assert events(trace) == XML_EVENTS


def test_entities_are_never_expanded(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(12)
    )
    evil = ELEMENTS[0].replace("6012", "&m;")
    path = tmp_path / "bomb"
    path.write_text(f'<?xml version="1.0"?>{bomb}]>\n' + document(xml_log(), evil, ELEMENTS[1]) + "&m;</Event>")
    trace = read(path, "tracerpt")
    assert len(trace) == 1
    assert trace.passed_over is not None
    assert trace.passed_over.number == 2


def test_deep_and_endless_elements(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_text(document(xml_log(), "<Event>" + "<a>" * 200_000 + "</a>" * 200_000 + "</Event>", *ELEMENTS))
    attempt(path, format="tracerpt")
    path.write_text("<Events><Event>" + "x" * (3 << 20) + document(*ELEMENTS))
    attempt(path, format="tracerpt")
    path.write_text(COLUMNS + "\n" + "x" * (2 << 20))
    with pytest.raises(TraceError, match="more than 1 MiB"):
        read(path, "tracerpt")


@pytest.mark.parametrize("text", [table(csv_log(), *ROWS), document(xml_log(), *ELEMENTS)])
def test_it_is_mended(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dumpfile"
    path.write_text(text)
    assert len(mend(path).trace) >= 2


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)), st.integers(-56, 56))
def test_times_are_those_of_the_calendar(tmp_path: Path, moment: datetime, quarters: int) -> None:
    since = moment - datetime(1970, 1, 1)
    ns = (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
    zone = timezone(timedelta(minutes=15 * quarters))
    text = moment.replace(tzinfo=UTC).astimezone(zone).isoformat(timespec="microseconds")
    assert trace_of(document(element(text)), tmp_path).time_ns.tolist() == [ns]
    tick = ns // 100 + 116_444_736_000_000_000
    assert trace_of(table(row("A", "B", 0, 1, 0, tick)), tmp_path).time_ns.tolist() == [ns]


SEEDS = [
    table(csv_log(), *ROWS),
    table(csv_log(events=3), *ROWS),
    table(*ROWS),
    table(csv_log()),
    table(csv_log(), row("A", "B", 0, 1, 0, TICK, '"x\r\ny"'), *ROWS),
    document(xml_log(), *ELEMENTS),
    document(xml_log(events=3), *ELEMENTS),
    document(*ELEMENTS),
    document(xml_log()),
    '<?xml version="1.0" encoding="utf-8"?>\r\n' + document(xml_log(), *ELEMENTS),
]
AWKWARD = [
    '"',
    ",",
    "\n",
    "\0",
    "\x01",
    "&",
    "<",
    "]]>",
    "<!--",
    "</Event>",
    "<Event>",
    "9" * 25,
    "0x",
    "&#0;",
    "é",
    "\ud7ff",
]


@pytest.mark.long
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_never_raises_anything_else(tmp_path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        to = min(len(text), at + data.draw(st.integers(0, 300)))
        match data.draw(st.sampled_from(["insert", "delete", "repeat", "truncate", "digits"])):
            case "insert":
                text = text[:at] + data.draw(st.sampled_from(AWKWARD)) + text[at:]
            case "delete":
                text = text[:at] + text[to:]
            case "repeat":
                text = text[:to] + text[at:]
            case "truncate":
                text = text[:at]
            case _:
                text = text[:at] + re.sub(r"\d", "9", text[at:to]) + text[to:]
    raw = bytearray((text or " x").encode(data.draw(st.sampled_from(["utf-8", "utf-16"]))))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + 1] = data.draw(st.binary(max_size=3))
    path = tmp_path / "damaged"
    path.write_bytes(bytes(raw) or b"x")
    attempt(path, format="tracerpt", strict=data.draw(st.booleans()))
