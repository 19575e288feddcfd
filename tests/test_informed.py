"""A network that reads what the mixture's experts hold likely: what it begins as, what it is told, what it says."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import rng, threads_on_cpus
from numpy.random import Generator
from numpy.typing import NDArray
from safetensors.torch import save_file

from tracemend.diffusion.gaps import lose
from tracemend.diffusion.informed import network as networks
from tracemend.diffusion.informed.answers import answers
from tracemend.diffusion.informed.clues import GUESSED, STRANGERS, Batch, Clue
from tracemend.diffusion.informed.clues import load as load_clues
from tracemend.diffusion.informed.clues import save as save_clues
from tracemend.diffusion.informed.lessons import Course, Lessons, bare
from tracemend.errors import ModelError
from tracemend.judging.informed import InformedMixture
from tracemend.menders.mixture import LENGTHS, Mixture, Powers
from tracemend.mending.run import mend_trace
from tracemend.trace.vocabulary import FIRST, universal
from tracemend.trace.windows import Stream, streams, window

KNOWN = 30
SHAPE = networks.Shape(KNOWN, LENGTHS, width=16, layers=1, heads=2, context=8)


def a_network(seed: int = 0, trained: bool = False) -> networks.Informed:
    torch.manual_seed(seed)
    network = networks.Informed(SHAPE, Powers().power_FE).eval()
    if trained:  # made up: weights that are not nothing any more
        for layer in (network.choice, network.gate):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return network


def a_clue(generator: Generator, n: int = 4, kinds: int = 20, draws: int = 3) -> Clue:
    """Made up."""
    sides = tuple(np.stack([FIRST + generator.integers(0, kinds, 12), np.ones(12, np.int64)], axis=1) for _ in range(2))
    events = np.array([FIRST + generator.permutation(kinds)[:5] for _ in range(n)], np.int64).reshape(n, 5)
    p = (generator.random((n, 5, 3)) / 5).astype(np.float32)
    drawn = FIRST + generator.integers(0, kinds, (draws, n))
    return Clue.of((sides[0], sides[1]), events, p, drawn).told(events[:, 0])


def text(generator: Generator, events: int) -> Stream:
    """Made up: words of which each has always the same end."""
    words = [np.array([FIRST + k, FIRST + 8 + k, FIRST + 16 + k % 3]) for k in range(8)]
    ids = np.concatenate([words[k] for k in generator.integers(0, 8, events // 3)])
    return Stream(ids, np.zeros_like(ids))


def test_together_networks_say_the_mean_of_what_each_says() -> None:
    each = [a_network(seed, trained=True) for seed in range(3)]
    clues = [a_clue(rng(k)) for k in range(4)]
    batch = Batch.of(clues, SHAPE.context, SHAPE.known)
    with torch.inference_mode():
        mean = torch.stack([torch.softmax(network(batch), dim=-1) for network in each]).mean(dim=0)
        torch.testing.assert_close(networks.Together(each)(batch).exp(), mean)
    events, p = answers(networks.Together(each), clues)[0]
    assert events.shape == p.shape
    assert (np.diff(p, axis=1) <= 0).all()


def test_untrained_it_is_the_mixture() -> None:
    streams_ = [text(rng(k), 300) for k in range(4)]
    w = window(streams_[0][40:80], streams_[0][85:130], 5)
    powers = Powers(((0.5, 0.2, 0.9),) * len(LENGTHS))
    mender = InformedMixture(streams_, (), networks.Informed(SHAPE, powers.power_FE).eval(), powers=powers)
    (found,), (plain,) = mender.propose([w]), Mixture(streams_, powers=powers).propose([w])
    assert np.array_equal(found.events_NM[:, 0], plain.events_NM[:, 0])
    ratio = found.p_NM[:, 1] / found.p_NM[:, 0]
    certain = plain.events_NM[:, 1] >= 0
    assert np.allclose(ratio[certain], (plain.p_NM[:, 1] / plain.p_NM[:, 0])[certain], rtol=0.02)  # kept in halves
    assert np.array_equal(found.threads_NT, plain.threads_NT)


def test_no_gap_depends_on_the_others() -> None:
    network = a_network(trained=True)
    clues = [a_clue(rng(k), n) for k, n in enumerate((4, 7, 4, 1, 4))]
    for steps in (1, 3):
        together = answers(network, clues, steps)
        for clue, (events, p) in zip(clues, together, strict=True):
            ((alone, p_alone),) = answers(network, [clue], steps)
            assert np.array_equal(events[:, 0], alone[:, 0])
            assert np.allclose(p, p_alone, atol=1e-5)
            assert (p.sum(axis=1) <= 1 + 1e-5).all()


def test_a_gap_of_no_events_has_no_answer() -> None:
    ((events, p),) = answers(a_network(), [a_clue(rng(0), 0)])
    assert len(events) == len(p) == 0


def test_events_that_it_does_not_know_come_back_as_they_are() -> None:
    """By the candidates that name them, though all it sees of them is that they are alike."""
    strange = 5000
    n, sides = 3, np.full((6, 2), strange)
    sides[:, 1] = 1
    events = np.array([[strange, FIRST], [strange + 1, FIRST], [FIRST, strange]])
    p = np.array([[[0.9] * 3, [0.05] * 3]] * n, np.float32)
    ((found, _),) = answers(a_network(), [Clue.of((sides, sides), events, p, np.empty((0, n), np.int64))])
    assert found[:, 0].tolist() == [strange, strange + 1, FIRST]
    batch = Batch.of([Clue.of((sides, sides), events, p, np.empty((0, n), np.int64))], 8, KNOWN)
    assert batch.events_BL.max() < KNOWN + STRANGERS
    assert (batch.events_BL[0, batch.first - 6 : batch.first] == batch.candidates_BNC[0, 0, 0]).all()
    assert batch.candidates_BNC[0, 0, 0] != batch.candidates_BNC[0, 1, 0]


def test_what_is_guessed_is_shown_and_asked_no_more() -> None:
    batch = Batch.of([a_clue(rng(0), 4), a_clue(rng(1), 2)], 8, KNOWN)
    before = batch.truth_BN.copy()
    shown = np.array([[-1, before[0, 1], -1, -1], [before[1, 0], -1, -1, -1]])
    batch.show(shown)
    assert (batch.truth_BN[shown >= 0] == -1).all()
    assert np.array_equal(batch.truth_BN[shown < 0], before[shown < 0])
    own = slice(batch.first, batch.first + 4)
    assert np.array_equal(batch.kind_BL[:, own] == GUESSED, shown >= 0)
    assert np.array_equal(batch.events_BL[:, own][shown >= 0], shown[shown >= 0])


def test_draws_that_agree_with_what_is_guessed_are_heard() -> None:
    """The same candidate is likelier beside a guess that its draw shares, once draws are listened to."""
    network = a_network()
    torch.nn.init.constant_(network.gate.bias[-2:-1], 2.0)
    sides = np.array([[FIRST, 1]] * 6)
    events, p = np.array([[3, 4], [5, 6]]), np.full((2, 2, 3), 0.4, np.float32)
    clue = Clue.of((sides, sides), events, p, np.array([[3, 5], [4, 6]]))

    def likely(guess: int) -> NDArray[np.float32]:
        batch = Batch.of([clue], 8, KNOWN)
        batch.show(np.array([[guess, -1]]))
        with torch.inference_mode():
            found: NDArray[np.float32] = torch.softmax(network(batch), dim=-1)[0, 1].numpy()
        return found

    assert likely(3)[5] > likely(3)[6]
    assert likely(4)[5] < likely(4)[6]


@pytest.mark.long
def test_it_learns_whom_to_hear() -> None:
    """Made up: the second expert is right, the others are noise."""
    generator = rng(5)

    def lesson() -> Clue:
        clue = a_clue(generator, 3, draws=0)
        clue.p_NCE[..., 1] = 0
        clue.p_NCE[np.arange(3), generator.integers(0, 5, 3), 1] = 0.9
        right = clue.events_NC[np.arange(3), clue.p_NCE[..., 1].argmax(axis=1)]
        return clue.told(right.astype(np.int64))

    lessons, asked = [lesson() for _ in range(200)], [lesson() for _ in range(40)]
    network = a_network()
    course = Course(minutes=60, alone=0, beside=0, rate=1e-2, warmup=5, deaf=0, strange=0)
    learning = Lessons(network, lessons, [text(rng(0), 90)], course)

    def right(of: networks.Informed) -> float:
        return float(
            np.mean([(a[0][:, 0] == c.truth_N).mean() for c, a in zip(asked, answers(of, asked), strict=True)])
        )

    before = right(network.eval())
    losses = [step.loss for step in islice(learning.steps(), 80)]
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])
    assert right(network.eval()) > max(0.9, before)
    assert learning.average.keys() == network.state_dict().keys()


def test_it_learns_from_streams_alone() -> None:
    network = a_network()
    course = Course(minutes=60, alone=1, rate=1e-2, warmup=5, strange=0)
    learning = Lessons(network, [a_clue(rng(0), 2)], [text(rng(k), 300) for k in range(5)], course)
    steps = list(islice(learning.steps(), 80))
    assert all(step.plain for step in steps)
    assert np.mean([s.loss for s in steps[-10:]]) < 0.75 * np.mean([s.loss for s in steps[:10]])


def test_bare_gaps_are_parts_of_their_stream() -> None:
    stream = text(rng(1), 60)
    for seed in range(20):
        clue = bare(stream, 7, rng(seed))
        whole = np.concatenate([clue.left_K2[:, 0], clue.truth_N, clue.right_K2[:, 0]])
        assert np.array_equal(whole, stream.ids)
    assert len(bare(stream[:3], 7, rng(0))) == 2


def test_clues_are_kept_and_read(tmp_path: Path) -> None:
    clues = [a_clue(rng(k), n) for k, n in enumerate((3, 1, 5))]
    save_clues(clues, tmp_path / "clues.npz")
    for a, b in zip(clues, load_clues(tmp_path / "clues.npz"), strict=True):
        for name in ("left_K2", "right_K2", "events_NC", "p_NCE", "drawn_DN", "truth_N"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
    (tmp_path / "clues.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="no clues"):
        load_clues(tmp_path / "clues.npz")


def test_networks_are_kept_and_read(tmp_path: Path) -> None:
    network, path = a_network(trained=True), tmp_path / "a.safetensors"
    networks.save(network, network.state_dict(), path)
    again, clues = networks.load(path), [a_clue(rng(3))]
    assert np.allclose(answers(again, clues)[0][1], answers(network, clues)[0][1], atol=0.01)
    for damage in ({}, {"shape": "{}"}, {"shape": '{"known": 3, "lengths": [1]}'}):
        save_file({"x": torch.zeros(1)}, path, damage)
        with pytest.raises(ModelError, match=r"no network that reads evidence|no shape"):
            networks.load(path)


def test_a_mend_by_it_is_whole() -> None:
    """Gaps beside each other, and events of a universal vocabulary of which it knows few."""
    lossy, missing = lose(threads_on_cpus(rng(2), 300, threads=3, cpus=2), rng(3), share=0.2, longest=20)
    mender = InformedMixture(
        streams(lossy, universal().extended(lossy), shortest=1), (), a_network(trained=True), steps=2
    )
    mended = mend_trace(lossy, mender, copier=None)
    assert mended.events == sum(map(len, missing))
    assert mend_trace(lossy, mender, copier=None).inferred.equals(mended.inferred)
