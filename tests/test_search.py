"""The compiled search against the plain one, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import slow_fill
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.mending import durations
from tracemend.mending.constraints import CLOSED, ENDED, FREE, UNSEEN, drop_impossible, rules
from tracemend.mending.search import Decoded, Manner, decode
from tracemend.trace.vocabulary import Vocabulary

VOCABULARY = Vocabulary(
    [
        *((name, phase) for name in ("a", "b", "exit", "rt_sigreturn") for phase in (0, 1)),
        ("tick", 2),
        ("alone", 0),
    ]
)
RULES = rules(VOCABULARY)
A, A_, B, B_, TICK = 3, 4, 5, 6, 11
STATES = [A, B, CLOSED, FREE, ENDED, UNSEEN]


def assert_same(one: Decoded, other: Decoded) -> None:
    """Not a bit apart."""
    assert one.ids.tolist() == other.ids.tolist()
    assert one.threads.tolist() == other.threads.tolist()
    assert one.confidence.tobytes() == other.confidence.tobytes()


@st.composite
def some_threads(draw: st.DrawFn, n: int, most: int = 8) -> list[slow_fill.Thread]:
    """The unknown thread and others, some of which must do something somewhere."""
    threads = [slow_fill.Thread(-1, FREE, FREE, 0, n)]
    anywhere = draw(st.booleans())
    for tid in range(draw(st.integers(0, most))):
        first = 0 if anywhere else draw(st.integers(0, n - 1))
        last = n if anywhere else draw(st.integers(first, n))
        end = draw(st.sampled_from([A, B, CLOSED, FREE]))
        threads.append(slow_fill.Thread(tid, draw(st.sampled_from(STATES)), end, first, last))
    return threads


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_same_obligations_are_dropped(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    threads = data.draw(some_threads(n, 20))
    kept, dropped = drop_impossible(slow_fill.as_arrays(threads), n)
    expected, number = slow_fill.drop_impossible(threads, n)
    assert kept.end.tolist() == [t.end for t in expected]
    assert dropped == number


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_same_fill_bit_for_bit(data: st.DataObject) -> None:
    """Among others with equal scores, candidates twice or missing, and beliefs too small to count."""
    n, m = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 12))
    threads, _ = slow_fill.drop_impossible(data.draw(some_threads(n)), n)
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    events = rng.integers(3, len(VOCABULARY) - data.draw(st.integers(0, 6)), (n, m))
    events = np.where(rng.random((n, m)) < data.draw(st.sampled_from([0, 0.3])), -1, events)
    beliefs = [rng.dirichlet(np.full(k, data.draw(st.sampled_from([0.05, 1.0]))), n) for k in (m, len(threads))]
    if data.draw(st.booleans()):
        beliefs = [np.round(b * 4) / 4 for b in beliefs]
    p, q = (b.astype(np.float32) for b in beliefs)
    width = data.draw(st.sampled_from([1, 2, 8]))
    usual = data.draw(st.sampled_from([[A], [A, B, 9]]))
    silence = rng.choice([0, -1, -9], len(VOCABULARY) + durations.STATES) * 1.0 if data.draw(st.booleans()) else None
    try:
        expected = slow_fill.decode(events, p, q, threads, VOCABULARY, usual=usual, width=width, silence=silence)
    except IndexError:  # the unknown thread is in the call that never returns, and there is nothing else
        with pytest.raises(ValueError, match="no fill"):
            decode(events, p, q, slow_fill.as_arrays(threads), RULES, Manner(usual, width, silence))
        return
    assert_same(decode(events, p, q, slow_fill.as_arrays(threads), RULES, Manner(usual, width, silence)), expected)
