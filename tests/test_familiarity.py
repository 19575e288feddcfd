"""Traces of programs that were recorded before, and of those that weren't."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import run
from conftest import make_trace, rng, threads_on_cpus
from heads import head
from hypothesis import given
from hypothesis import strategies as st

from tracemend.api import mend
from tracemend.diffusion.gaps import lose
from tracemend.menders.familiarity import FAMILIAR, familiarity
from tracemend.mending.run import mend_trace
from tracemend.outputs import report
from tracemend.trace.events import Gap
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams

LINES = st.lists(st.lists(st.integers(3, 5), max_size=12), max_size=3)


def stream(ids: list[int]) -> Stream:
    return Stream(np.array(ids, np.int64), np.zeros(len(ids), np.int64))


@given(LINES, LINES, st.integers(1, 4))
def test_it_is_the_share_of_runs_that_the_examples_have(
    own: list[list[int]], examples: list[list[int]], length: int
) -> None:
    def runs(lines: list[list[int]]) -> list[tuple[int, ...]]:
        return [tuple(x[i : i + length]) for x in lines for i in range(len(x) - length + 1)]

    found = familiarity([stream(x) for x in own], [stream(x) for x in examples], length)
    known = set(runs(examples))
    if runs(own) and known:
        assert found == pytest.approx(np.mean([r in known for r in runs(own)]))
    else:
        assert found is None


@pytest.mark.long
def test_mending_says_how_familiar_a_trace_is() -> None:
    complete = threads_on_cpus(rng(5), 2000)
    lossy, _ = lose(complete, rng(6), longest=30)
    known = mend_trace(lossy, shipped=streams(complete, universal()))
    assert known.provenance["familiar"]["share"] >= FAMILIAR
    assert "probably among them" in report.render(known)
    names = make_trace([(i, 0, 7, f"what{i % 9}", 2) for i in range(400)])
    strange = mend(replace(names, gaps=(Gap(0, 0, 199, 200, 199, 200, 1, "counted", 200),)))
    assert strange.provenance["familiar"] == {"share": 0.0, "length": 6, "enough": False}
    assert "they hold 0.0 % of the trace&#39;s runs of 6 events; of" in report.render(strange)
    assert "probably not among the recordings" in report.render(strange)
    assert "familiar" not in mend_trace(lossy).provenance


@pytest.mark.long
def test_the_command_says_it(tmp_path: Path) -> None:
    """git, rsync and perl are among the workloads that nothing was recorded of for the examples."""
    done = run("mend", head("deploy", 2700, tmp_path / "pair") / "lossy.txt", "-o", tmp_path / "out", "--adapt", "0")
    assert done.returncode == 0, done.stderr
    assert "Your program is probably not among the recordings copied from" in done.stdout
