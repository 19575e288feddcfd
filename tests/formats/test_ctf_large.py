"""CTF's compiled loop: what it reads is what the functions made for each event read, whatever lies in the files."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from conftest import CHANNELS
from ctf_made import Int as MadeInt
from ctf_made import Made, Real, Struct, Words
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_ctf import damage, made

from tracemend.errors import TraceError
from tracemend.formats import FORMATS, read
from tracemend.formats.ctf import reader
from tracemend.formats.ctf.values import read_bits
from tracemend.trace.events import Trace

Reading = Callable[[Path], Trace]
Contexts = list[dict[str, Any]]
Events = list[tuple[int, dict[str, Any]]]


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Reading:
    """Reads a trace in both ways, sees to it that they agree, and returns what was read."""

    def one(folder: Path, large: int) -> tuple[Trace | None, str]:
        monkeypatch.setattr(reader, "LARGE", large)
        try:
            return read(folder, "ctf"), ""
        except TraceError as e:
            return None, str(e)

    def compare(folder: Path) -> Trace:
        (slow, error), (quick, other) = one(folder, 1 << 62), one(folder, 0)
        assert error == other
        if slow is None or quick is None:
            raise TraceError(folder, 0, error)
        assert quick.table.equals(slow.table)
        assert (quick.gaps, quick.warnings, quick.stored) == (slow.gaps, slow.warnings, slow.stored)
        assert (quick.passed_over, quick.clock) == (slow.passed_over, slow.clock)
        return slow

    return compare


def packets(trace: Made, events: Events, contexts: Contexts, size: int) -> list[bytes]:
    parts = [(events[i : i + size], contexts[i : i + size]) for i in range(0, len(events), size)]
    return [trace.packet(e, contexts=c, sequence=k) for k, (e, c) in enumerate(parts)]


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_random_types(tmp_path: Path, both: Reading, seed: int) -> None:
    trace, events, contexts = made(seed)
    both(trace.write(tmp_path / "t", [packets(trace, events, contexts, 7), packets(trace, events, contexts, 30)]))


@pytest.mark.parametrize("name", CHANNELS)
def test_real_recordings(lttng_recordings: dict[str, Path], both: Reading, name: str) -> None:
    assert len(both(lttng_recordings[name]))


@pytest.mark.parametrize("most", [3, 100])
def test_small_batches_are_the_same_events(
    lttng_recordings: dict[str, Path], both: Reading, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    whole = read(lttng_recordings["discard"])
    monkeypatch.setattr(reader, "LEAST_BATCH", most)
    monkeypatch.setattr(reader, "MOST_BATCH", most)
    some = both(lttng_recordings["discard"])
    assert some.table.equals(whole.table)
    assert some.gaps == whole.gaps


def made_odd(rng: Random, count: int, odd: float) -> tuple[Made, Events, Contexts]:
    """A made-up trace, of whose events about this share is nothing for the compiled loop."""
    number = MadeInt(64, False, True, 10, 8)
    context = Struct([("procname", Words(20)), ("tid", MadeInt(32, True, True, 10, 8))])
    fields = Struct([("text", Words()), ("wide", number), ("real", Real(64, True, 8)), ("small", Real(32, True, 8))])
    events: Events = []
    contexts: Contexts = []
    now = (1 << 62) - count
    for k in range(count):
        now += rng.randint(0, 3)
        strange = rng.random() < odd
        words = "naïve" if strange else f"\\ {k}\n"
        events.append((now, {"text": words, "wide": (1 << 64) - 1 if k % 2 else k, "real": k / 7, "small": 0.5}))
        command = "a name of 20 letters" if strange else f"thread {k % 300}"
        contexts.append({"procname": command, "tid": k % 5 - 1})
    return Made(fields, True, context), events, contexts


@pytest.mark.parametrize("odd", [0.01, 0.3, 0.9])
@pytest.mark.parametrize("room", [300, 1 << 22])
def test_what_is_odd_is_read_all_the_same(
    tmp_path: Path, both: Reading, monkeypatch: pytest.MonkeyPatch, odd: float, room: int
) -> None:
    from tracemend.formats.ctf import quick

    monkeypatch.setattr(quick, "ARGS", room)  # so little that texts fill it before rows do
    trace, events, contexts = made_odd(Random(1), 2000, odd)
    found = both(trace.write(tmp_path / "t", [packets(trace, events, contexts, 700)] * 2))
    assert len(found) == 4000


@pytest.mark.long
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_damage_is_told_alike(tmp_path_factory: pytest.TempPathFactory, both: Reading, seed: int) -> None:
    rng = Random(seed)
    trace, events, contexts = made(rng.randrange(100))
    folder = trace.write(tmp_path_factory.mktemp("hurt"), [packets(trace, events, contexts, 9)])
    hurt = rng.choice(["metadata", "stream_0", "stream_0"])
    (folder / hurt).write_bytes(damage(rng, (folder / hurt).read_bytes()))
    with suppress(TraceError):
        both(folder)


@settings(deadline=None)
@given(st.integers(-(1 << 63), (1 << 63) - 1) | st.floats().map(lambda v: struct.unpack("<q", struct.pack("<d", v))[0]))
def test_numbers_with_a_point_are_shown_as_python_does(raw: int) -> None:
    from tracemend.formats.ctf.reals import real

    text = np.zeros(24, np.uint8)
    for code, size in (("qd", 64), ("if", 32)):
        low = (raw + (1 << size - 1)) % (1 << size) - (1 << size - 1)
        (value,) = struct.unpack(f"<{code[1]}", struct.pack(f"<{code[0]}", low))
        assert text[: real(text, 0, np.int64(low), size)].tobytes().decode() == repr(value)


@settings(deadline=None)
@given(
    data=st.binary(min_size=9, max_size=12),
    at=st.integers(0, 8),
    size=st.integers(1, 64),
    little=st.booleans(),
    signed=st.booleans(),
)
def test_integers_of_any_bits(data: bytes, at: int, size: int, little: bool, signed: bool) -> None:
    from tracemend.formats.ctf import digits

    value = read_bits(data, at, size, little)
    if signed and value >> (size - 1):
        value -= 1 << size
    read_as = digits.bits(np.frombuffer(data, np.uint8), at, size, little | 2 * signed)
    assert (int(read_as) - value) % (1 << 64) == 0
    text = np.zeros(24, np.uint8)
    for base, form in ((10, "%d"), (16, "0x%x"), (8, "0%o")):
        shown = value if base == 10 else value % (1 << size)
        end = digits.number(text, 0, read_as, size, signed, base)
        assert text[:end].tobytes().decode() == form % shown


@pytest.mark.long
def test_small_traces_wait_for_no_compiled_loop(lttng_recordings: dict[str, Path]) -> None:
    code = "import sys; from tracemend.formats import read; read(sys.argv[1]); sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, lttng_recordings["whole"]], check=True)


def test_formats_are_imported_by_their_names() -> None:
    assert [f.name for f in FORMATS.values()] == list(FORMATS)


@pytest.mark.long
def test_commands_load_no_pandas(lttng_recordings: dict[str, Path]) -> None:
    code = """if True:
        import sys
        from tracemend.cli.arguments import read_trace
        from pathlib import Path
        trace = read_trace(Path(sys.argv[1]), None, "x86_64", False)
        assert "pandas" not in sys.modules
        assert len(trace.to_pandas()) == len(trace)"""
    subprocess.run([sys.executable, "-c", code, lttng_recordings["whole"]], check=True)


def test_a_glance_at_a_format_imports_no_other() -> None:
    code = "import sys, tracemend.formats as f; f.FORMATS['perf']; sys.exit('tracemend.formats.bpf' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
