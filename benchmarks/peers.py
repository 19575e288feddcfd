"""An outside peer: SAITS and CSDI of PyPOTS, an imputation library, on the windows of the experiments.

    make peers DATA=../shared/data
    python benchmarks/peers.py --from ../shared/data [--only adfa] [--only "PyPOTS SAITS"] [--set codec=onehot]

PyPOTS (Du 2023; BSD-3-Clause) is no dependency of tracemend: it lives in an environment of its own, of which peers.txt
holds the versions. SAITS: Du, Cote and Liu 2023; CSDI: Tashiro et al. 2021. Rows are those of ``tracemend experiment``;
what is in the results file already is not done again.

How events become numbers: PyPOTS imputes series of real numbers (N, L, C). Each event becomes the codeword of one of
tracemend's codecs, a gap is NaN in all channels, and of what comes back the nearest codeword counts.

What is hidden in training: CSDI takes masks of one's own along with the windows (``for_pattern_mask``), so each window
has its gaps. SAITS hides single values (MCAR, a fifth of them) and has no option for anything else: an ``X_ori`` beside
the training windows isn't looked at. One channel of an event whose others are visible says nothing about gaps, so the
method that hands a batch to the network, which every model of PyPOTS defines for itself, is overridden to hide fresh
gaps in each window; network, losses and selection of the weights by validation are PyPOTS' own. Hidden are four gaps of
10 events anywhere: as long as those that tracemend's models of the study train on, and as much of a window as PyPOTS
hides by itself. ``--set hidden=values`` leaves both models as they come.

SAITS' codec, rate and number of iterations are the best of the few that were tried, on validation windows of
pts/compress-gzip (``--validate``), never on test windows: for about a thousand iterations it learns next to nothing.
CSDI's codec was chosen for what it costs. Training takes up to ten minutes of one core, as that of tracemend's small
recipes does, which is far from the hundred epochs that PyPOTS has by default.

Axis legend: N windows, L length, C channels, V ids, G hidden events, K gaps of a window.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import ROOT, command
from numpy.typing import NDArray

from tracemend.datasets import Data, load
from tracemend.diffusion.codecs import CODECS, nearest
from tracemend.diffusion.gaps import Blackout
from tracemend.diffusion.recipes import recipe
from tracemend.diffusion.training import draw, keep_memory, weights_of
from tracemend.errors import one_of
from tracemend.judging.experiment import scored
from tracemend.judging.grid import Job, missing
from tracemend.judging.provenance import provenance
from tracemend.judging.results import Row, append, exclusive, read_results
from tracemend.menders.base import Proposal, Proposer, certain
from tracemend.trace.windows import Window, batch

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

STUDY = ("pts/compress-gzip", "pts/phpbench", "pts/unpack-linux")
LENGTH = 200
#: Windows imputed in one call: SAITS returns its attention along.
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Setting:
    """A model of PyPOTS and its training; sizes are those of tracemend's small recipes.

    hidden: "gaps", that is ``gaps`` of ``gap`` events in each window, or "values" as PyPOTS has it. loss: of SAITS, MAE
    as published or MSE; CSDI has its own. windows: drawn once for training, gone through ``epochs`` times; held_out:
    for the validation after each epoch. samples: chains of CSDI, of whose values the median is taken.
    """

    model: str
    codec: str
    loss: str = "MSE"
    hidden: str = "gaps"
    gap: int = 10
    gaps: int = 4
    layers: int = 2
    width: int = 64
    heads: int = 2
    windows: int = 4096
    epochs: int = 12
    batch: int = 16
    rate: float = 3e-3
    held_out: int = 256
    samples: int = 1

    @property
    def iterations(self) -> int:
        return -(-self.windows // self.batch) * self.epochs

    def changed(self, settings: Sequence[str]) -> Setting:
        """With some fields set, "codec=bits". Raises AttributeError for a field that isn't there, else ValueError."""
        pairs = (s.split("=", 1) for s in settings)
        return replace(self, **{key: type(getattr(self, key))(value) for key, value in pairs})


PEERS = {
    "PyPOTS SAITS": Setting("SAITS", "onehot"),
    # its cost grows with the channels: with bits, a window takes seven times as long
    "PyPOTS CSDI": Setting(
        "CSDI", "standardised", layers=4, windows=32_768, epochs=1, batch=8, rate=2e-3, held_out=32, samples=5
    ),
}


def jobs(settings: Sequence[str] = ()) -> Iterator[Job]:
    """What there is to do. CSDI, which takes seconds a window, is asked for 125 of them."""
    for data, peer in product((*STUDY, "adfa", "pts-hard30/compress-gzip"), PEERS):
        gaps = (1, 10) if data in STUDY else (1, 10, 40)
        windows = 125 if peer == "PyPOTS CSDI" else 1000 if data == "adfa" else 500
        yield Job(data, peer, tuple(settings), LENGTH, 0, tuple((g, "centre", windows) for g in gaps))


def encoded(ids_NL: Ints, known_NL: Bools, codes_VC: torch.Tensor) -> Floats:
    """The codewords of windows (N, L, C), NaN in all channels where nothing is known."""
    x_NLC = codes_VC.numpy()[ids_NL]
    x_NLC[~known_NL] = np.nan
    return x_NLC.astype(np.float32)


def decoded(x_GC: Floats, codes_VC: torch.Tensor) -> tuple[Ints, Floats]:
    """The nearest ids of values, and how sure each is (G,), by its distance against those of the other ids."""
    best = nearest(torch.from_numpy(x_GC)[None], codes_VC)[0].max(dim=-1)
    return best.indices.numpy(), best.values.exp().numpy()


def gaps(rng: np.random.Generator, number: int, length: int, setting: Setting) -> Bools:
    """known_NL of windows with gaps anywhere; they may overlap."""
    begin_NK = rng.integers(0, length - setting.gap + 1, (number, setting.gaps))
    since_NKL = np.arange(length) - begin_NK[..., None]
    return np.asarray(~((since_NKL >= 0) & (since_NKL < setting.gap)).any(axis=1))


def drawn(data: Data, part: str, number: int, length: int, seed: int) -> Ints:
    """Windows ids_NL of the "train" or "validation" streams, drawn as tracemend's own training does."""
    streams = getattr(data, part)
    how = replace(recipe("masked-s4-small"), length=length, gaps=Blackout(1))
    clean, _ = draw(how, streams, weights_of(streams), seed, 0, number)
    return clean[..., 0].numpy()


def seeded(seed: int) -> None:
    """PyPOTS draws from the generators that numpy and torch have for everybody."""
    torch.manual_seed(seed)
    np.random.seed(seed)


class Peer(Proposer):
    """A fitted model of PyPOTS as a mender. Windows must have the length that it was trained on."""

    def __init__(self, name: str, model: Any, codes_VC: torch.Tensor, samples: int | None) -> None:
        """samples: of CSDI; None for a model that imputes in one go."""
        self.name, self.model, self.codes_VC, self.samples = name, model, codes_VC, samples

    def propose(self, windows: Sequence[Window], seed: int = 0) -> list[Proposal]:
        seeded(seed)
        proposals = []
        for a in range(0, len(windows), AT_ONCE):
            ids, known = batch(list(windows[a : a + AT_ONCE]))
            x_NLC = self.impute(encoded(ids[..., 0], known, self.codes_VC))
            for x_LC, known_L in zip(x_NLC, known, strict=True):
                events, p = decoded(x_LC[~known_L], self.codes_VC)
                proposals.append(certain(events, np.ones_like(events), p))
        return proposals

    def impute(self, x_NLC: Floats) -> Floats:
        """The same windows without NaN."""
        if self.samples is None:
            return np.asarray(self.model.impute({"X": x_NLC}), np.float32)
        chains = self.model.impute({"X": x_NLC}, n_sampling_times=self.samples)
        return np.median(np.asarray(chains, np.float32), axis=1)


def built(setting: Setting, channels: int, length: int, rng: np.random.Generator) -> Any:
    """The model, not yet trained."""
    from pypots.imputation import CSDI, SAITS
    from pypots.nn.modules.loss import MAE, MSE
    from pypots.optim import Adam
    from pypots.optim.lr_scheduler import LambdaLR

    class Gapped(SAITS):  # type: ignore[misc]
        def _assemble_input_for_training(self, given: list[torch.Tensor]) -> dict[str, torch.Tensor]:
            inputs: dict[str, torch.Tensor] = super()._assemble_input_for_training(given)
            if self.model.training:  # the validation windows have gaps of their own
                x = inputs["X_ori"]
                known = torch.from_numpy(gaps(rng, len(x), length, setting)).float()[..., None].expand_as(x)
                inputs |= {"X": x * known, "missing_mask": known, "indicating_mask": 1 - known}
            return inputs

    common = {
        "n_steps": length,
        "n_features": channels,
        "n_layers": setting.layers,
        "n_heads": setting.heads,
        "batch_size": setting.batch,
        "epochs": setting.epochs,
        "optimizer": Adam(setting.rate, lr_scheduler=LambdaLR(lambda step: factor(step, setting.iterations))),
        "device": "cpu",
    }
    if setting.model == "SAITS":
        width = {"d_model": setting.width, "d_k": setting.width // setting.heads, "d_v": setting.width // setting.heads}
        kind = SAITS if setting.hidden == "values" else Gapped
        return kind(**common, **width, d_ffn=4 * setting.width, training_loss={"MAE": MAE, "MSE": MSE}[setting.loss])
    embeddings = {"d_time_embedding": 64, "d_feature_embedding": 16, "d_diffusion_embedding": 64}
    model = CSDI(**common, **embeddings, n_channels=setting.width, target_strategy="random")
    if setting.hidden == "gaps":
        model.target_strategy = "hist"  # its data set can do that, only its constructor doesn't accept it
    return model


def factor(step: int, total: int, warmup: int = 100) -> float:
    """Of the learning rate: linear warm-up, then a cosine to a hundredth, as in tracemend's training."""
    done = max(0, step - warmup) / max(1, total - warmup)
    return min(1.0, (step + 1) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def fitted(name: str, setting: Setting, data: Data, length: int, seed: int) -> tuple[Peer, Row]:
    """The trained model, and what is to be said of its training; accuracy is that on the validation's gaps."""
    import pypots

    seeded(seed)
    codes = CODECS[setting.codec](data.vocabulary)
    rng = np.random.default_rng(seed)
    ids, held_out = (
        drawn(data, part, number, length, seed)
        for part, number in (("train", setting.windows), ("validation", setting.held_out))
    )
    known = gaps(np.random.default_rng(1), len(held_out), length, setting)
    whole = np.ones(ids.shape, bool)
    train = {"X": encoded(ids, whole, codes)}
    if setting.model == "CSDI":
        pattern = gaps(rng, len(ids), length, setting)[..., None]
        train["for_pattern_mask"] = np.broadcast_to(pattern, train["X"].shape).astype(np.float32)
    validation = {"X": encoded(held_out, known, codes), "X_ori": encoded(held_out, np.ones_like(known), codes)}
    begin = time.process_time()
    model = built(setting, codes.shape[1], length, rng)
    model.fit(train, validation)
    seconds = time.process_time() - begin
    peer = Peer(name, model, codes, setting.samples if setting.model == "CSDI" else None)
    right = (peer.restore(held_out, known).ids == held_out)[~known].mean()
    return peer, {
        "train_s": round(seconds, 1),
        "iterations": setting.iterations,
        "best_epoch": model.best_epoch,
        "parameters": sum(p.numel() for p in model.model.parameters()),
        "validation": round(float(right), 4),
        "device": "cpu",
        "setting": asdict(setting),
        "pypots": pypots.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", type=Path, help="a folder with the data sets, else the cache")
    parser.add_argument("--only", action="append", default=[], help="only these data sets or models")
    parser.add_argument("--set", dest="settings", action="append", default=[], help="change a setting: codec=bits")
    parser.add_argument("--validate", action="store_true", help="say what the validation says, and score nothing")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "peers.jsonl")
    given = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    every = list(jobs(given.settings))
    for name in given.only:
        one_of("data set or model", name, [n for j in every for n in (j.data, j.mender)])
    chosen = [j for j in every if all({j.data, j.mender} & set(held) for held in narrowing(given.only) if held)]
    about = {"command": command(), **provenance()}
    with exclusive(given.output):
        for job in chosen if given.validate else missing(chosen, read_results(given.output)):
            data = load(job.data, given.source, length=job.length)
            setting = PEERS[job.mender].changed(job.set)
            peer, training = fitted(job.mender, setting, data, job.length, job.seed)
            print(job.data, job.mender, json.dumps(training), flush=True)
            for row in () if given.validate else scored(job, data, peer, training):
                append(given.output, row | about)
                print(row["data"], row["mender"], row["gap"], json.dumps(row["subsets"]["all"]), flush=True)


def narrowing(only: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of models and names of data sets; either narrows the jobs if there are any."""
    return [n for n in only if n in PEERS], [n for n in only if n not in PEERS]


if __name__ == "__main__":
    main()
