"""What a thread must do waits only for a later gap that has room for it: against a plain look at all gaps."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.mending.later import NEVER, ROOM, waits
from tracemend.trace.events import Gap

SPANS = st.tuples(st.integers(0, 60), st.integers(1, 40), st.none() | st.integers(1, 40))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(SPANS, max_size=4), min_size=1, max_size=3))
def test_waits_are_those_that_a_plain_look_finds(cpus: list[list[tuple[int, int, int | None]]]) -> None:
    gaps: list[Gap] = []
    for cpu, spans in enumerate(cpus):  # made up: gaps of a cpu follow each other
        end = 0
        for skipped, length, count in spans:
            begin, end = end + 100 * skipped, end + 100 * (skipped + length)
            gaps.append(Gap(len(gaps), cpu, None, None, begin, end, count, "counted", 0))
    found = waits(gaps)
    for gap in gaps:
        rooms = [NEVER]
        for other in gaps:
            takes = 0.0 if other.count is None else ROOM * other.duration_ns / other.count
            since = max(gap.end_ns, other.begin_ns) + takes
            if other.end_ns > gap.end_ns and since <= other.end_ns:
                rooms.append(int(since))
        assert found[gap.number] == min(rooms)
