"""What every entry of the registries must do; a new backbone or mender inherits these tests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import mostly_long, rng, threads_on_cpus
from hypothesis import given
from hypothesis import strategies as st

from tracemend.diffusion.backbones import BACKBONES
from tracemend.diffusion.backbones.held import chain
from tracemend.diffusion.backbones.lstm import LSTM
from tracemend.diffusion.backbones.ssm import KERNELS
from tracemend.diffusion.backbones.widths import Widths
from tracemend.diffusion.denoiser import Denoiser, build
from tracemend.diffusion.gaps import lose
from tracemend.diffusion.processes.base import Noise, Process
from tracemend.diffusion.processes.masked import Masked
from tracemend.diffusion.recipes import RECIPES, recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.sampler import restore
from tracemend.diffusion.training import Training
from tracemend.errors import ModelError, OptionError
from tracemend.menders import MENDERS, Lookup, MostFrequent
from tracemend.menders.base import Mender, Proposal
from tracemend.menders.calibration import Calibration, Weight
from tracemend.mending.blend import LONGEST, Blend
from tracemend.mending.blocks import propose
from tracemend.mending.run import mend_trace
from tracemend.mending.surroundings import Surroundings
from tracemend.trace.vocabulary import FIRST, MASK, numbered, universal
from tracemend.trace.windows import SLOTS, STEPS, Stream, Window, streams, window


def tiny(vocabulary_size: int = 40) -> Restorer:
    torch.manual_seed(0)
    chosen = recipe("masked-transformer-tiny")
    vocabulary = numbered(vocabulary_size - 3)
    return Restorer(chosen, vocabulary, build(chosen, vocabulary)[1])


PATTERN = np.tile(np.arange(3, 11), 40)
STREAM = Stream(PATTERN, np.zeros_like(PATTERN))
EVERY: dict[str, Callable[[], Mender]] = {
    **{name: partial(make, [STREAM]) for name, make in MENDERS.items()},
    "network": tiny,
    "blend": lambda: Blend(Lookup([STREAM]), tiny()),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("channels", [1, 2])
def test_menders_fill_the_hidden_and_keep_the_known(name: str, channels: int) -> None:
    ids = np.stack([PATTERN[i : i + 48] for i in range(5)])
    known = np.ones(ids.shape, bool)
    known[:, 20:27] = False
    known[2, 40:44] = False  # a second gap in one window
    given = ids if channels == 1 else np.stack([ids, np.ones_like(ids)], axis=-1)
    hidden = np.where(known if channels == 1 else known[..., None], given, 0)
    mender = EVERY[name]()
    first, second = mender.restore(hidden, known, 1), mender.restore(hidden, known, 1)
    assert first.ids.shape == given.shape
    assert (first.ids[known] == given[known]).all()
    assert (first.ids == second.ids).all()
    events = first.ids if channels == 1 else first.ids[..., 0]
    assert (events[~known] > MASK).all()
    assert first.belief_BL.shape == known.shape
    assert ((first.belief_BL >= 0) & (first.belief_BL <= 1)).all()
    assert (first.belief_BL[known] == 1).all()


@pytest.mark.parametrize("name", EVERY)
def test_proposals_are_distributions(name: str) -> None:
    trace = threads_on_cpus(rng(0), 300)
    lossy, _ = lose(trace, rng(1), longest=40)
    vocabulary = universal().extended(lossy)
    intact = streams(lossy, vocabulary, shortest=2)
    mender = MENDERS[name](intact) if name in MENDERS else EVERY[name]()
    around = Surroundings(lossy, vocabulary.encode(lossy).astype(np.int64))
    beliefs = propose(mender, around, [(g, g.count or 1) for g in lossy.gaps], 0, lambda done, total: None)
    for gap, b in zip(lossy.gaps, beliefs, strict=True):
        assert len(b.events) == len(b.p) == len(b.threads) == gap.count
        assert (b.p >= 0).all()
        assert (b.p.sum(axis=1) <= 1 + 1e-4).all()
        assert (np.diff(b.p, axis=1) <= 1e-6).all()
        np.testing.assert_allclose(b.threads.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_no_hidden_run_is_an_empty_proposal(name: str) -> None:
    ids = PATTERN[None, :20]
    assert (EVERY[name]().restore(ids, np.ones_like(ids, bool)).ids == ids).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="don't fit"):
        tiny().restore(np.zeros((2, 5), int), np.zeros((2, 6), bool))


#: Options that reach every part of a backbone.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "transformer": [{}],
    "gated": [
        {"mixer": "conv"},
        {"mixer": "s4", "state": 8, "layers": 2},
        {"mixer": "attention", "layers": 2},
        *({"mixer": "s4-single", "kernel": k, "state": 8, "layers": 2} for k in KERNELS),
    ],
    "sashimi": [{"layers": 1, "state": 8, "trainable": True}],
    "selective": [{"layers": 2, "state": 8, "chunk": 8}, {"layers": 2, "state": 8, "attention": 2}],
    "lstm": [{"layers": 2}],
}
CASES = [(name, options) for name in BACKBONES for options in OPTIONS.get(name, [{}])]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}-{'-'.join(map(str, o.values()))}" for n, o in CASES])
class TestBackbones:
    def make(self, name: str, options: dict[str, Any]) -> torch.nn.Module:
        torch.manual_seed(0)
        backbone = BACKBONES[name](Widths(32, 3, 8), **options)
        for p in backbone.parameters():  # what starts at zero would hide what depends on it
            if (p == 0).all():
                torch.nn.init.normal_(p, std=0.1)
        return backbone.eval()

    def inputs(self, size: int, length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.randn(size, 32, length), torch.randn(size, 3, length), torch.randn(size, 8)

    @pytest.mark.parametrize("length", [1, 7, 64, 201])
    def test_any_length(self, name: str, options: dict[str, Any], length: int) -> None:
        assert self.make(name, options)(*self.inputs(2, length)).shape == (2, 32, length)

    def test_a_position_sees_both_sides_or_says_that_it_is_causal(self, name: str, options: dict[str, Any]) -> None:
        x, cond, time = self.inputs(1, 40)
        x.requires_grad_()
        backbone = self.make(name, options)
        y = backbone(x, cond, time)
        (grad,) = torch.autograd.grad(y[0, :, 20].square().sum(), x)
        seen = grad[0].abs().sum(0) > 0
        assert seen[:21].all()
        assert seen[21:].any() != getattr(backbone, "causal", False)
        if not getattr(backbone, "causal", False):
            assert seen.all()

    def test_every_parameter_learns(self, name: str, options: dict[str, Any]) -> None:
        backbone = self.make(name, options)
        backbone(*self.inputs(2, 16)).square().sum().backward()
        still = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
        assert not still

    def test_windows_of_a_batch_are_independent(self, name: str, options: dict[str, Any]) -> None:
        backbone = self.make(name, options)
        x, cond, time = self.inputs(3, 24)
        alone = torch.cat([backbone(x[i : i + 1], cond[i : i + 1], time[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(backbone(x, cond, time), alone, rtol=1e-4, atol=1e-4)

    def test_a_chain_changes_nothing(self, name: str, options: dict[str, Any]) -> None:
        backbone = self.make(name, options)
        x, cond, time = self.inputs(2, 24)
        plain = [backbone(x * k, cond, time * k) for k in (1, 2)]
        with chain(backbone), torch.inference_mode():
            held = [backbone(x * k, cond, time * k) for k in (1, 2)]
        torch.testing.assert_close(held, plain)


def test_an_lstm_goes_on_from_its_memory() -> None:
    lstm = LSTM(Widths.alike(8), layers=2)
    x = torch.randn(3, 8, 10)
    whole = lstm(x, x, x[..., 0])
    first, memory = lstm.advance(x[..., :6], None)
    second, _ = lstm.advance(x[..., 6:], memory)
    torch.testing.assert_close(torch.cat([first, second], dim=-1), whole)


VOCABULARY = numbered(37, range(37, 0, -1))
TINY = [name for name in RECIPES if "-tiny" in name]


def test_every_model_has_a_tiny_size() -> None:
    models = {name.split("-tiny")[0] + name.split("-tiny")[1] for name in TINY}
    assert {"diffwave", "sssd-s4", "sssd-sa", "csdi-s4", "lstm", "masked-s4", "masked-transformer"} <= models
    for name in ("diffwave", "sssd-s4", "sssd-sa", "csdi-s4"):
        assert {f"{name}-{s}{p}" for s in ("paper", "small", "tiny") for p in ("", "-published")} <= set(RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_come_back_from_their_file(name: str) -> None:
    chosen = recipe(name)
    assert type(chosen).from_dict(json.loads(json.dumps(chosen.as_dict()))) == chosen
    assert chosen.source


@pytest.mark.parametrize("name", TINY)
class TestTinyRecipes:
    def make(self, name: str) -> tuple[Process, Denoiser]:
        torch.manual_seed(0)
        process, network = build(recipe(name), VOCABULARY)
        for p in network.parameters():
            if (p == 0).all():
                torch.nn.init.normal_(p, std=0.1)
        return process, network

    def windows(self, length: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(FIRST, len(VOCABULARY), (3, length, 3), generator=generator)
        ids[..., 1] %= SLOTS
        ids[..., 2] %= STEPS
        known = torch.ones(3, length, dtype=torch.bool)
        known[:, 10:15] = False
        return ids, known

    def test_the_loss_reaches_every_parameter_that_is_not_idle(self, name: str) -> None:
        process, network = self.make(name)
        ids, known = self.windows()
        process.loss(network, ids, known, torch.Generator().manual_seed(0)).backward()  # type: ignore[no-untyped-call]
        still = {n for n, p in network.named_parameters() if p.requires_grad and p.grad is None}
        if "published" in name:  # what the public implementations make and never use
            last = f"blocks.{recipe(name).options['layers'] - 1}.onward"
            still = {n for n in still if "idle" not in n and "label" not in n and last not in n}
        assert not still

    def test_beliefs_are_distributions_over_real_events(self, name: str) -> None:
        process, network = self.make(name)
        ids, known = self.windows()
        with torch.inference_mode():
            events, *_ = restore(process, network.eval(), ids, known, 3, Noise(range(3)))
        assert events.shape == (3, 24, len(VOCABULARY))
        torch.testing.assert_close(events.exp().sum(-1)[~known], torch.ones(15))

    def test_what_is_hidden_is_never_read(self, name: str) -> None:
        process, network = self.make(name)
        ids, known = self.windows()
        other = torch.where(known[..., None], ids, torch.tensor([FIRST + 1, 2, 3]))
        with torch.inference_mode():
            a, b = (restore(process, network.eval(), x, known, 3, Noise(range(3)))[0] for x in (ids, other))
        torch.testing.assert_close(a, b)

    def test_another_vocabulary_is_refused(self, name: str, tmp_path: Path) -> None:
        training = Training(recipe(name), VOCABULARY, total=3, device="cpu")
        Restorer(training.recipe, VOCABULARY, training.averaged()).save(tmp_path / "m")
        numbered(37, range(38, 1, -1)).save(tmp_path / "m" / "vocabulary.json")
        with pytest.raises(ModelError, match="not the one that the weights were trained with"):
            Restorer.load(tmp_path / "m")
        training.save(tmp_path)
        with pytest.raises(ModelError, match="has another vocabulary"):
            Training.resume(tmp_path, numbered(5, range(5, 0, -1)), device="cpu")


@pytest.mark.parametrize("name", mostly_long(sorted(TINY, key=lambda n: "-published" in n), 2))
def test_training_learns_and_the_folder_restores(name: str, tmp_path: Path) -> None:
    training = Training(recipe(name), VOCABULARY, total=3, device="cpu")
    stream = Stream(np.tile(np.arange(FIRST, FIRST + 7), 40), np.ones(280, np.int64))
    steps = list(training.steps([stream], [stream], every=2))
    assert steps[1].validation is not None
    assert steps[1].validation_loss is not None
    made = Restorer(replace(training.recipe, steps=3), VOCABULARY, training.averaged())
    made.save(tmp_path / "m")
    loaded = Restorer.load(tmp_path / "m")
    for key, weights in made.network.state_dict().items():
        torch.testing.assert_close(loaded.network.state_dict()[key], weights, rtol=1e-3, atol=1e-3)
    ids, known = np.stack([stream.ids[i : i + 40] for i in range(4)]), np.arange(40)[None].repeat(4, 0) // 5 != 4
    first, second = loaded.restore(ids, known, 1), loaded.restore(ids, known, 1)
    assert (first.ids == second.ids).all()
    assert (first.ids[known] == ids[known]).all()
    assert first.ids.min() >= FIRST
    alone = loaded.restore(ids[:1], known[:1], 1)
    assert (alone.ids == first.ids[:1]).all(), "a fill must not depend on what else is filled"


def test_the_clock_of_masked_models_tells_the_hidden_share_of_the_gap() -> None:
    process, seen = Masked(numbered(17)), []

    def denoise(ids: torch.Tensor, known: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        hidden = (ids[..., 0] == MASK).sum(1) / (~known).sum(1)
        torch.testing.assert_close(time, hidden)
        seen.extend(time.tolist())
        return [torch.randn(2, 30, 20), torch.randn(2, 30, SLOTS)]

    known = torch.arange(30)[None].repeat(2, 1) // 10 != 1
    ids = torch.full((2, 30, 2), 5)
    state = process.start(ids, known, None)
    for t, s in pairwise(process.times(4, known)):
        state = process.step(denoise, state, ids, known, t, s, None)
    assert seen[:2] == [1, 1]
    assert len(seen) == 8
    assert state.shown_BL.all()


def test_unknown_names_are_answered_with_the_accepted_ones() -> None:
    start = recipe("diffwave-tiny")
    changes: list[tuple[dict[str, Any], str]] = [
        ({"backbone": "unet"}, "'unet'; one of transformer, gated, sashimi, selective, lstm"),
        ({"process": "magic"}, "'magic'; one of masked, gaussian, autoregressive"),
        ({"options": {"mixer": "fft"}}, "'fft'; one of conv, s4, s4-single, attention"),
        ({"how": {"codec": "roman"}}, "codec 'roman'; one of scalar, standardised, bits, onehot"),
    ]
    for change, message in changes:
        with pytest.raises(OptionError, match=message):
            build(replace(start, **change), VOCABULARY)
    for how, text in {
        "schedule": "unknown schedule 'x'; one of linear, quadratic, cosine, linear-zero, cosine-zero",
        "predict": "unknown prediction 'x'; one of noise, clean, v",
        "sampler": "unknown sampler 'x'; one of ddpm, ddim, dpm++",
        "condition": "unknown condition 'x'; one of values, position",
    }.items():
        with pytest.raises(OptionError, match=re.escape(text)):
            build(replace(start, how={how: "x"}), VOCABULARY)
    with pytest.raises(ModelError, match=r"process gaussian: .*'colour'"):
        build(replace(start, how={"colour": 1}), VOCABULARY)
    with pytest.raises(ModelError, match="backbone gated: mixer conv has no option 'colour'"):
        build(replace(start, options={"colour": 1}), VOCABULARY)
    with pytest.raises(OptionError, match="unknown frequencies 'x'; one of falling, ends, rising"):
        build(replace(start, how={"frequencies": "x"}), VOCABULARY)
    with pytest.raises(ModelError, match="must be three widths"):
        build(replace(start, how={"embedding": [16, 32]}), VOCABULARY)
    with pytest.raises(OptionError, match="'first'; one of last, best"):
        replace(start, keep="first")
    with pytest.raises(OptionError, match="'mine'; one of universal, frequency"):
        replace(start, vocabulary="mine")
    with pytest.raises(ModelError, match="must be positive"):
        replace(start, options={"layers": 0})
    for backbone, process in (("lstm", "gaussian"), ("gated", "autoregressive")):
        with pytest.raises(ModelError, match="don't go together"):
            build(replace(start, backbone=backbone, process=process, how={}, options={}), VOCABULARY)
    with pytest.raises(ModelError, match="ends in pure noise"):
        build(replace(start, how={"predict": "noise"}), VOCABULARY)
    with pytest.raises(ModelError, match="needs a vocabulary with counts"):
        build(replace(start, how={"codec": "standardised"}), numbered(10))
    with pytest.raises(OptionError, match="'nonsense'; one of masked-transformer"):
        recipe("nonsense")


def test_the_loss_hides_only_the_gap_and_at_least_one_event_of_it() -> None:
    process = Masked(numbered(17))
    clean = torch.randint(3, 16, (64, 30, 1)).repeat(1, 1, 2)
    known = torch.ones(64, 30, dtype=torch.bool)
    known[:, 10:14] = False
    hidden: list[int] = []

    def denoise(ids: torch.Tensor, known_BL: torch.Tensor, time: torch.Tensor) -> list[torch.Tensor]:
        masked = ids[..., 0] == MASK
        assert not (masked & known).any()
        hidden.extend(masked.sum(1).tolist())
        return [torch.zeros(64, 30, 20), torch.zeros(64, 30, SLOTS)]

    loss = process.loss(denoise, clean, known, torch.Generator().manual_seed(0))
    assert set(hidden) == {1, 2, 3, 4}
    expected = torch.log(torch.tensor(20.0)) + 0.5 * torch.log(torch.tensor(float(SLOTS)))
    torch.testing.assert_close(loss, expected)


def test_a_model_survives_its_folder(tmp_path: Path) -> None:
    model = tiny()
    model.save(tmp_path / "m")
    again = Restorer.load(tmp_path / "m")
    ids, known = PATTERN[None, :30], np.arange(30)[None] % 7 != 3
    assert (model.restore(ids, known).ids == again.restore(ids, known).ids).all()
    assert again.digest


@pytest.mark.parametrize("damage", ["missing", "no json", "other shape", "other vocabulary", "cut weights"])
def test_damaged_models_are_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "m"
    tiny().save(folder)
    if damage == "missing":
        (folder / "weights.safetensors").unlink()
    elif damage == "no json":
        (folder / "recipe.json").write_text("{")
    elif damage == "other shape":
        text = (folder / "recipe.json").read_text()
        (folder / "recipe.json").write_text(text.replace('"width": 32', '"width": 64'))
    elif damage == "other vocabulary":
        numbered(50).save(folder / "vocabulary.json")
    else:
        raw = (folder / "weights.safetensors").read_bytes()
        (folder / "weights.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(ModelError) as caught:
        Restorer.load(folder)
    assert "\n" not in str(caught.value)


def test_a_mender_of_ones_own_can_mend() -> None:
    """The protocol is all that ``mend`` asks for."""
    lossy, _ = lose(threads_on_cpus(rng(2), 300), rng(3), longest=20)
    mended = mend_trace(lossy, tiny(), copier=None)
    assert mended.filled == len(lossy.gaps)


@given(left=st.integers(0, 12), right=st.integers(0, 12), hidden=st.integers(1, 4), context=st.integers(1, 14))
def test_a_narrowed_window_is_that_of_less_context(left: int, right: int, hidden: int, context: int) -> None:
    before, behind = (Stream(rng(n).integers(3, 9, n), rng(n).integers(1, 7, n), np.full(n, 5)) for n in (left, right))
    narrow = window(before, behind, hidden).narrowed(context)
    expected = window(before[max(0, left - context) :], behind[:context], hidden)
    assert (narrow.known_L == expected.known_L).all()
    assert (narrow.ids_LC[:, :2] == expected.ids_LC[:, :2]).all()
    assert narrow.tids.tolist() == expected.tids.tolist()


@pytest.mark.parametrize("context", [5, 40, 110])
def test_a_mender_gets_as_much_context_as_it_asks_for(context: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lossy, _ = lose(threads_on_cpus(rng(2), 4000, cpus=1), rng(3), share=0.01, longest=20)
    seen: list[Window] = []

    class Asking(MostFrequent):
        def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
            seen.extend(windows)
            return super().propose(windows, seed)

    mender = Asking()
    mender.context = context
    mend_trace(lossy, mender, copier=None)
    assert 0 <= max(len(w.known_L) - w.hidden for w in seen) - 2 * context <= 2  # BREAK where the stream ends
    model = tiny()
    model.context = 300
    blend = Blend(Lookup([STREAM]), model)
    assert blend.context == 300
    copier = Asking()
    monkeypatch.setattr(blend, "copier", copier)
    wide = [*seen]
    seen.clear()
    blend.propose(wide)
    assert max(len(w.known_L) - w.hidden for w in seen) <= 2 * copier.context


def test_a_networks_belief_depends_on_no_other_window() -> None:
    model = tiny()
    for p in model.network.parameters():
        if (p == 0).all():
            torch.nn.init.normal_(p, std=0.1)
    sides = [STREAM[:n] for n in (5, 9, 17, 17)]
    windows = [window(s, s[2:], 4) for s in sides]
    alone = [model.propose([w])[0] for w in windows]
    for a, b in zip(model.propose(windows), alone, strict=True):
        assert (a.events_NM == b.events_NM).all()
        np.testing.assert_allclose(a.p_NM, b.p_NM, atol=1e-6)


def test_a_long_gaps_network_says_what_it_was_trained_on() -> None:
    chosen = recipe("masked-transformer-long")
    _, network = build(replace(chosen, width=8), VOCABULARY)
    model = Restorer(replace(chosen, width=8), VOCABULARY, network)
    assert (model.longest, model.context) == (1000, 384)
    assert (tiny().longest, tiny().context) == (16, 32)


@pytest.mark.parametrize(("hidden", "calls"), [(1, 1), (3, 3), (40, 8)])
def test_a_network_is_asked_no_more_often_than_there_are_events(hidden: int, calls: int) -> None:
    process, network = build(recipe("masked-selective-tiny"), VOCABULARY)
    ids = torch.full((2, 60, 3), FIRST)
    known = torch.ones(2, 60, dtype=torch.bool)
    known[:, 10 : 10 + hidden] = False
    asked = 0

    def counted(*inputs: torch.Tensor) -> Any:
        nonlocal asked
        asked += 1
        return network(*inputs)

    state = process.start(ids, known, None)
    for t, s in pairwise(process.times(8, known)):
        state = process.step(counted, state, ids, known, t, s, None)
    assert asked == calls


@pytest.mark.parametrize(("first", "hidden", "asked"), [(3, 6, True), (100, 6, False), (3, LONGEST + 1, False)])
def test_a_network_is_not_asked_where_it_has_no_names_nor_in_long_gaps(
    first: int, hidden: int, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = first + rng(4).integers(0, 8, 600)
    blend = Blend(Lookup([Stream(ids, np.zeros_like(ids))]), tiny())
    blend.network.longest = 1000
    asked_for: list[int] = []
    propose = blend.network.propose

    def recorded(windows: Sequence[Window], seed: int) -> list[Proposal]:
        asked_for.append(len(windows))
        return propose(windows, seed)

    monkeypatch.setattr(blend.network, "propose", recorded)
    left, right = (Stream(ids[a : a + 30], np.zeros(30, np.int64)) for a in (0, 300))
    unsure = window(left, right, hidden)  # what isn't in the stream: nobody can be sure
    blend.propose([unsure])
    assert sum(asked_for) == asked
    blend.network.weight = Weight((-3.0, 0.0, 0.0, 0.0))  # a network that has proven wrong
    Blend(blend.copier, blend.network).propose([unsure])
    assert sum(asked_for) == asked


def test_the_weight_says_whose_fill_is_taken() -> None:
    ids = 3 + rng(4).integers(0, 8, 600)
    copier, network = Lookup([Stream(ids, np.zeros_like(ids))]), tiny()
    left, right = (Stream(ids[a : a + 30], np.zeros(30, np.int64)) for a in (0, 300))
    unsure = window(left, right, 6)
    fills = [mender.propose([unsure])[0].events_NM[:, 0] for mender in (copier, network)]
    assert (fills[0] != fills[1]).any()
    network.weight = Weight((20.0, 0.0, 0.0, 0.0))
    assert (Blend(copier, network).propose([unsure])[0].events_NM[:, 0] == fills[1]).all()
    network.weight = Weight((-20.0, 0.0, 0.0, 0.0))
    assert (Blend(copier, network).propose([unsure])[0].events_NM[:, 0] == fills[0]).all()


def test_a_models_curves_and_weight_come_back(tmp_path: Path) -> None:
    model = tiny()
    curve = Calibration.fit(np.array([0.2, 0.9]), np.array([False, True]), np.array([3, 3]))
    model.calibration = model.blend_calibration = curve
    model.weight = Weight((1.0, -2.0, 3.0, 0.5))
    model.save(tmp_path)
    again = Restorer.load(tmp_path)
    assert again.weight == model.weight
    assert again.calibration is not None
    assert again.calibration.as_dict() == curve.as_dict()
    document = json.loads((tmp_path / "calibration.json").read_text())
    (tmp_path / "calibration.json").write_text(json.dumps(document | {"weight": [1.0]}))
    with pytest.raises(ModelError, match=rf"{re.escape(str(tmp_path))}: no calibration \(no weight"):
        Restorer.load(tmp_path)
