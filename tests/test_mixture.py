"""Several menders' beliefs as one: the product against a plain one, powers against a search, what is held out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracemend.errors import ModelError
from tracemend.menders import FittedMixture, Lookup, Mixture, Mosaic, NGram
from tracemend.menders.base import Proposal
from tracemend.menders.mixture import EQUAL, EXPERTS, LENGTHS, UNNAMED, Evidence, Powers, fit, product, shipped
from tracemend.trace.windows import SLOTS, Stream, window


def proposal(rows: list[dict[int, float]], width: int) -> Proposal:
    """Beliefs given as event: probability, a row a position."""
    events, p = np.full((len(rows), width), -1, np.int64), np.zeros((len(rows), width), np.float32)
    for i, row in enumerate(rows):
        events[i, : len(row)], p[i, : len(row)] = list(row), list(row.values())
    return Proposal(events, p, np.full((len(rows), SLOTS), 1 / SLOTS, np.float32))


def beliefs(positions: int) -> st.SearchStrategy[list[dict[int, float]]]:
    row = st.dictionaries(st.integers(3, 12), st.floats(0.01, 1), max_size=4).map(
        lambda d: {k: v / max(1.0, sum(d.values())) for k, v in d.items()}
    )
    return st.lists(row, min_size=positions, max_size=positions)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: st.tuples(*[beliefs(n)] * 3)), st.lists(st.floats(0, 2), min_size=3))
def test_the_product_is_the_product(sides: tuple[list[dict[int, float]], ...], powers: list[float]) -> None:
    """Against dictionaries: every named event has its product, in order, and no more than the surest one named."""
    proposals = [proposal(side, 4 + e) for e, side in enumerate(sides)]
    mixed = product(proposals, powers[:3])
    assert mixed.threads_NT is proposals[0].threads_NT
    for n, rows in enumerate(zip(*sides, strict=True)):
        named = set().union(*rows)
        plain = {
            v: float(np.prod([(row.get(v, 0) + UNNAMED) ** w for row, w in zip(rows, powers, strict=False)]))
            for v in named
        }
        found = {int(v): float(p) for v, p in zip(mixed.events_NM[n], mixed.p_NM[n], strict=True) if v >= 0}
        assert found.keys() == named
        most = max(sum(row.values()) for row in rows)
        assert sum(found.values()) == pytest.approx(most, abs=1e-3)
        for v in named:
            assert found[v] == pytest.approx(most * plain[v] / sum(plain.values()), abs=1e-3)
        assert (np.diff(mixed.p_NM[n]) <= 0).all()


def test_powers_are_where_the_truth_is_likeliest() -> None:
    """Against a search over a grid, where one expert knows, one guesses, and one says always the same."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, 9, 4000)
    guess = np.where(rng.random(4000) < 0.6, truth, rng.integers(3, 9, 4000))
    sides = [
        [{int(v): 0.8, 3 + int(v + 1) % 6: 0.1} for v in np.where(rng.random(4000) < 0.9, truth, guess)],
        [{int(v): 0.5, 3 + int(v + 1) % 6: 0.4} for v in guess],
        [{3: 0.9}] * 4000,
    ]
    evidence = Evidence.of([proposal(side, 2) for side in sides])
    power = fit([evidence], [truth])

    def loss(power_E: tuple[float, ...]) -> float:
        odds = evidence.odds(power_E)
        hit = evidence.events_NC == truth[:, None]
        said = hit.any(axis=1)
        top = odds[said].max(axis=1)
        norm = top + np.log(np.exp(odds[said] - top[:, None]).sum(axis=1))
        total = (norm - odds[said][hit[said]]).sum() / np.sqrt(len(truth))
        return float(total + 10.0 * np.square(np.array(power_E) - EQUAL).sum())

    near = [
        tuple(max(0.0, p + d) for p, d in zip(power, step, strict=True))
        for step in itertools.product((-0.02, 0, 0.02), repeat=3)
    ]
    assert loss(power) <= min(map(loss, near)) + 1e-3
    assert power[0] > 2 * power[2]


def text(rng: np.random.Generator, size: int) -> Stream:
    """Words of a few events each, in any order: made up."""
    words = [np.arange(3, 10), np.array([12, 4, 12]), np.array([20, 21, 20, 22, 23])]
    ids = np.concatenate([words[k] for k in rng.integers(3, size=size // 4)])
    return Stream(ids, np.zeros_like(ids))


def test_experts_are_those_by_themselves() -> None:
    rng = np.random.default_rng(1)
    streams = [text(rng, 600) for _ in range(3)]
    windows = [window(streams[0][40:100], streams[0][105:160], 5), window(streams[1][:60], streams[1][90:160], 30)]
    mixture = Mixture(streams, powers=Powers())
    alone = [mender.propose(windows) for mender in (Mosaic(streams), Lookup(streams), NGram(streams))]
    for found, *own in zip(mixture.propose(windows), *alone, strict=True):
        plain = product(own, [EQUAL] * 3)
        assert np.array_equal(found.events_NM, plain.events_NM)
        assert np.allclose(found.p_NM, plain.p_NM)


@pytest.mark.long
def test_powers_are_fitted_to_what_is_held_out() -> None:
    """Once for each class of lengths; where there is little, they stay as they ship."""
    rng = np.random.default_rng(2)
    streams = [text(rng, 400) for _ in range(10)]
    mender = FittedMixture(streams)
    windows = [window(s[40:100], s[104:160], 4) for s in streams]
    mender.propose(windows)
    fitted = [k for k, n in enumerate(LENGTHS) if mender.powers.of(n) != shipped().of(n)]
    assert fitted == [1]
    again = FittedMixture(streams)
    again.propose(windows[:2])
    assert again.powers == mender.powers
    few = FittedMixture([text(rng, 30)])
    few.propose([window(streams[0][40:100], streams[0][104:160], 4)])
    assert few.powers == shipped()


def test_powers_are_kept_and_read(tmp_path: Path) -> None:
    powers = Powers(((1.0, 0.0, 0.5),) * len(LENGTHS)).replaced(7, (0.5, 0.25, 0.125))
    assert powers.of(2) == powers.of(10) == (0.5, 0.25, 0.125) != powers.of(11)
    powers.save(tmp_path / "powers.json")
    assert Powers.from_dict(powers.as_dict()) == powers
    good = powers.as_dict()
    for damage in (
        {"experts": ["mosaic"]},
        {"powers": [[1, 2]]},
        {"powers": "x"},
        {"powers": [[float("nan")] * 3] * 5},
    ):
        with pytest.raises(ModelError):
            Powers.from_dict(good | damage)
    with pytest.raises(ModelError):
        Powers.from_dict({})
    assert all(0 <= p < 2 for n in LENGTHS for p in shipped().of(n))
    assert len(EXPERTS) == 3
