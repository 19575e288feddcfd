"""How the network learns: from gaps whose truth is known, each with some of it shown.

Axis legend: B gaps, N hidden positions, V rows of events.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional

from tracemend.diffusion.informed.clues import CONTEXT, Batch, Clue, rename
from tracemend.diffusion.informed.network import EXPERTS, Informed
from tracemend.diffusion.training import weights_of
from tracemend.trace.vocabulary import FIRST
from tracemend.trace.windows import Stream, slots_by_recency, to_slots


@dataclass(frozen=True, slots=True)
class Course:
    """How it is taught.

    batch: gaps of a step. positions: of all gaps of a step, at most. rate: of AdamW, after ``warmup`` steps, and from
    there down a cosine. minutes: that it takes; ``alone``: the share of these at the beginning in which it learns from
    streams alone, without evidence, and ``beside`` the share of later steps that do. shown: how often some of a gap is
    shown. deaf: how often one of the experts isn't heard. strange: how often some events are called strangers.
    """

    batch: int = 32
    positions: int = 8192
    rate: float = 1e-3
    warmup: int = 100
    minutes: float = 10.0
    alone: float = 0.2
    beside: float = 0.2
    shown: float = 0.5
    deaf: float = 0.1
    strange: float = 0.1
    decay: float = 0.998


@dataclass(frozen=True, slots=True)
class Step:
    """loss: mean cross-entropy of what was asked, in nats; plain: without evidence. done: the share of the time."""

    number: int
    loss: float
    plain: bool
    done: float


class Lessons:
    """A network that learns; ``average``: its weights' moving average, which is what is kept."""

    def __init__(
        self, network: Informed, clues: Sequence[Clue], streams: Sequence[Stream], course: Course, seed: int = 0
    ) -> None:
        self.network, self.course, self.seed = network, course, seed
        self.clues = sorted(clues, key=len)
        self.streams = [s for s in streams if len(s) > 1]
        self.share = weights_of(self.streams)
        self.longest = max((len(c) for c in clues), default=1)
        self.average = {name: v.detach().clone() for name, v in network.state_dict().items()}
        self.rng = np.random.default_rng(seed)

    def steps(self) -> Iterator[Step]:
        """Train for as long as the course says."""
        torch.manual_seed(self.seed)
        course, network = self.course, self.network
        optimiser = torch.optim.AdamW(network.parameters(), lr=course.rate, betas=(0.9, 0.98), weight_decay=0.01)
        network.train()
        begun, number = time.monotonic(), 0
        while (done := (time.monotonic() - begun) / (60 * course.minutes)) < 1:
            for group in optimiser.param_groups:
                fallen = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
                group["lr"] = course.rate * min(1.0, (number + 1) / course.warmup) * fallen
            plain = not self.clues or done < course.alone or self.rng.random() < course.beside
            batch = self.without_evidence() if plain else self.with_evidence()
            loss = asked(network(batch, plain), batch)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            number += 1
            self._follow(min(course.decay, (1 + number) / (10 + number)))
            yield Step(number, float(loss.detach()), plain, done)

    def with_evidence(self) -> Batch:
        """Gaps of about one length, some of each shown."""
        at = int(self.rng.integers(len(self.clues)))
        size = self._size(len(self.clues[at]))
        begin = max(0, min(at - size // 2, len(self.clues) - size))
        return self._taught(Batch.of(self.clues[begin : begin + size], *self._how()))

    def without_evidence(self) -> Batch:
        """Gaps anywhere in the streams, of one length, of which nobody says anything."""
        n = int(np.exp(self.rng.uniform(0, np.log(self.longest + 1))))
        chosen = self.rng.choice(len(self.streams), self._size(n), p=self.share)
        return self._taught(Batch.of([bare(self.streams[i], n, self.rng) for i in chosen.tolist()], *self._how()))

    def _size(self, n: int) -> int:
        """Gaps of a step, if they have about ``n`` events."""
        return max(1, min(self.course.batch, self.course.positions // (n + 2 * self.network.shape.context)))

    def _how(self) -> tuple[int, int]:
        return self.network.shape.context, self.network.shape.known

    def _taught(self, batch: Batch) -> Batch:
        """The same with what makes lessons of it."""
        course, rng = self.course, self.rng
        known = self.network.shape.known
        for b in range(len(batch.length_B)):
            if rng.random() < course.strange:
                ids = np.unique(batch.events_BL[b])
                rename(batch.held(b), np.append(np.arange(FIRST), ids[rng.random(len(ids)) < 0.7]), known)
            if rng.random() < course.deaf:
                batch.p_BNCE[b, ..., rng.integers(batch.p_BNCE.shape[-1])] = 0
        hidden = batch.truth_BN >= 0
        share = np.where(rng.random(len(hidden)) < course.shown, rng.random(len(hidden)), 0.0)
        shown = hidden & (rng.random(hidden.shape) < share[:, None])
        shown[np.arange(len(shown)), rng.integers(batch.length_B)] = False  # one at least is asked
        batch.show(np.where(shown, batch.truth_BN, -1))
        return batch

    def _follow(self, decay: float) -> None:
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)


def asked(logits_BNV: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy of the events that are asked for."""
    truth = torch.from_numpy(batch.truth_BN)
    held = truth >= 0
    return functional.cross_entropy(logits_BNV[held], truth[held])


def bare(stream: Stream, n: int, rng: Generator) -> Clue:
    """A gap of ``n`` events somewhere in a stream, or as many as it has, without evidence. Its sides end where the
    stream is broken."""
    n = min(n, len(stream) - 1)
    at = int(rng.integers(0, len(stream) - n + 1))
    left, right = stream[max(0, at - CONTEXT) : at], stream[at + n : at + n + CONTEXT]
    slots = slots_by_recency(left.tids, right.tids)
    before, behind = (np.stack([s.ids, to_slots(s.tids, slots)], axis=1) for s in (left, right))
    nobody = np.full((n, 1), -1), np.zeros((n, 1, EXPERTS), np.float32), np.empty((0, n), np.int64)
    return Clue.of((before, behind), *nobody).told(stream.ids[at : at + n])
