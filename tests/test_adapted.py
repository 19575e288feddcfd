"""How the mosaic adapts itself: what it may see while it tries, and what it makes of that."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import rng, threads_on_cpus
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.diffusion.gaps import lose
from tracemend.errors import OptionError
from tracemend.menders import AdaptedMosaic, Mosaic, Run
from tracemend.menders.adapted import FACTORS, LEAST, LONGEST, MARGIN, TRIALS, _best, _pieces, adapt
from tracemend.menders.places import Places
from tracemend.mending.options import Options
from tracemend.mending.run import mend_trace
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import Stream, streams, window


def stream(ids: list[int] | np.ndarray) -> Stream:
    ids = np.asarray(ids, np.int64)
    return Stream(ids, np.zeros_like(ids))


def run_at(ids: np.ndarray, at: int, n: int) -> Run:
    left, right = ids[at - 40 : at], ids[at + n : at + n + 40]
    return Run(0, n, left, right, np.zeros_like(left), np.zeros_like(right))


@pytest.mark.parametrize("many", [False, True])
def test_what_is_hidden_is_not_copied(many: bool) -> None:
    """Events that occur once: there to be copied from the piece itself, and nowhere else. Few places and many."""
    ids = np.arange(3, 503)
    mosaic = Mosaic([stream(ids)], most=[(0, 100 if many else 8192)])
    shift = int(np.flatnonzero(mosaic.places.ids_S == 3)[0])
    run, hidden = run_at(ids, 200, 5), slice(200 + shift, 205 + shift)
    assert mosaic.tried(run, 1.0, slice(0, 0))[:, 0].tolist() == ids[200:205].tolist()
    assert not set(mosaic.tried(run, 1.0, hidden)[:, 0].tolist()) & set(ids[200:205].tolist())
    everything = slice(shift, shift + len(ids))
    assert set(mosaic.tried(run, 1.0, everything)[:, 0].tolist()) == {mosaic.places.common[0]}
    for left in (1, 20, 33):  # positions of the index
        assert len(mosaic.tried(run, 1.0, slice(left, len(mosaic.places.ids_S)))) == 5
    assert mosaic.factor == 1.0


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 400), min_size=1, max_size=6), st.lists(st.integers(1, 900), min_size=1), st.integers(0, 99)
)
def test_pieces_lie_within_the_streams(sizes: list[int], lengths: list[int], seed: int) -> None:
    places = Places([stream(np.arange(3, 3 + n)) for n in sizes], [stream(np.arange(3, 900))])
    for at, n in _pieces(places, lengths, 20, np.random.default_rng(seed)):
        assert n in {min(length, LONGEST) for length in lengths}
        assert (places.ids_S[at - MARGIN : at + n + MARGIN] >= 0).all()
        assert at + n + MARGIN <= places.foreign


def test_a_factor_is_taken_for_more_than_chance() -> None:
    def gained(*gain: float) -> np.ndarray:
        third = np.full(len(gain), 0.3)
        return np.stack([third, third + gain, third - 0.1], axis=1)

    assert _best(np.empty((0, len(FACTORS)))) == 1
    assert _best(gained(*[0.1] * (LEAST - 1))) == 1
    assert _best(gained(*[0.1] * LEAST)) == FACTORS[1]
    assert _best(gained(*[-0.1] * LEAST)) == 1
    assert _best(gained(*[0.4, -0.3] * LEAST)) == 1


@pytest.mark.long
def test_streams_choose_how_readily_the_copy_jumps() -> None:
    """Words in any order want jumps; one loop, over and over, has no need of them."""
    words = rng(3).integers(3, 30, (12, 4))
    text = words[rng(4).integers(0, 12, 250)].ravel()
    mixed = Mosaic([stream(text)])
    found = adapt(mixed, [6, 7, 9])
    assert (found.factor, found.trials) == (mixed.factor, 60)
    assert found.factor > 1
    loop = Mosaic([stream(np.tile(text[:120], 8))])
    assert adapt(loop, [6, 7, 9]).factor == 1
    assert adapt(Mosaic([stream(text)]), [6, 7, 9]) == found
    assert adapt(Mosaic([stream(text[:200])]), [6, 7, 9], trials=LEAST - 1).trials == 0
    assert adapt(Mosaic([stream(text)]), [6], seconds=0).trials <= 1
    assert adapt(Mosaic([]), [6]).trials == 0


@pytest.mark.long
def test_it_adapts_once_for_each_length() -> None:
    words = rng(3).integers(3, 30, (12, 4))
    lines = [stream(words[rng(k).integers(0, 12, 60)].ravel()) for k in range(3)]
    mender = AdaptedMosaic(lines)
    for n in (4, 4, 12):
        w = window(lines[0][100:132], lines[0][132 + n : 164 + n], n)
        proposal = mender.propose([w])[0]
        plain = Mosaic(lines)
        plain.factor = mender.factors[n,]
        assert (plain.propose([w])[0].events_NM == proposal.events_NM).all()
    assert mender.factors.keys() == {(4,), (12,)}
    assert mender.factors[4,] > 1


@pytest.mark.long
def test_mending_says_how_it_adapted() -> None:
    complete = threads_on_cpus(rng(5), 2000)
    lossy, _ = lose(complete, rng(6), longest=30)
    told = mend_trace(lossy, options=Options(adapt=60.0)).provenance["options"]["adapted"]
    assert told["trials"] == TRIALS
    assert told["jumps"] in FACTORS
    assert "adapted" not in mend_trace(lossy).provenance["options"]
    own = Mosaic(streams(lossy, universal(), shortest=1))
    assert (
        "adapted" not in mend_trace(lossy, own, Options(adapt=9.0)).provenance["options"]
    )  # somebody's own mender stays as it is
    assert own.factor == 1
    for seconds in (-1.0, float("inf"), float("nan")):
        with pytest.raises(OptionError, match="must be a number from 0"):
            mend_trace(lossy, options=Options(adapt=seconds))
