"""Mending: for every gap that can be filled, exactly as many events as were lost, in place, in order, within reason.

The steps: who proposes -> which gaps, and how many events each -> gap by gap, in order of their ends: proposals (for
all gaps together where the mender gains by that), the likeliest fill that satisfies the constraints, and times within
the gap's span.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from tracemend import __version__
from tracemend.errors import ModelError
from tracemend.menders import Lookup, Mixture, Mosaic
from tracemend.menders.adapted import Adaptation, adapt
from tracemend.menders.base import Mender, Trained
from tracemend.menders.examples import Example
from tracemend.menders.familiarity import FAMILIAR, LENGTH, familiarity
from tracemend.menders.likeness import chosen, likeness, told
from tracemend.mending.adjacent import Places
from tracemend.mending.beliefs import Beliefs, Filled
from tracemend.mending.blend import Blend
from tracemend.mending.blocks import Progress, hypotheses, propose
from tracemend.mending.choosing import nearest_in_counts
from tracemend.mending.fields import Fields
from tracemend.mending.filling import LONGEST_FILL, SHORT_FILL, TIMES_AS_LONG, Filling
from tracemend.mending.mended import Fill, Mended
from tracemend.mending.options import DEFAULTS, Options
from tracemend.mending.tables import Draws, Tables
from tracemend.trace.events import Gap, Trace
from tracemend.trace.syscalls import DEFAULT_ARCH
from tracemend.trace.vocabulary import Vocabulary, universal
from tracemend.trace.windows import Stream, streams

#: How sure a hypothesis is of the events drawn for it: where the constraints don't allow them others take their place.
DRAWN = 0.95

#: What copies from the intact part of a trace and from examples: the default, the one that votes, and the default
#: together with others.
Copier = Callable[[Sequence[Stream], Sequence[Stream]], Mosaic | Lookup]
MOSAIC, LOOKUP, MIXTURE = "mosaic", "lookup", "mixture"
COPIERS: dict[str, Copier] = {MOSAIC: Mosaic, LOOKUP: Lookup, MIXTURE: Mixture}


@dataclass(slots=True)
class Proposers:
    """Who says what was lost: a mender by itself, what copies, or what copies with a network beside it.

    familiar: the share of the trace that the examples know (``menders/familiarity.py``), None without examples.
    shipped: which examples of the package and of the user's library are copied from. alike: which of all of these the
    trace is like (``menders/likeness.py``).
    adaptation, tuning: what was learnt from the trace's intact part, if anything was.
    """

    mender: Mender
    vocabulary: Vocabulary
    network: Trained | None = None
    copies: Mosaic | Lookup | None = None
    familiar: float | None = None
    shipped: Sequence[Example] = ()
    alike: Sequence[dict[str, Any]] = ()
    adaptation: Adaptation | None = None
    tuning: int = 0

    def adapt(self, trace: Trace, lengths: Sequence[int], options: Options) -> None:
        """Learn from the trace's intact part what it is like, as far as the options allow; lengths: of the gaps."""
        seconds = options.adapt
        if not seconds:
            return
        mosaic = self.copies if isinstance(self.copies, Mosaic) else None
        if mosaic:
            self.adaptation = adapt(mosaic, lengths, seed=options.seed, seconds=self._half(mosaic, seconds))
        if self.network:
            share = self._half(mosaic, seconds)
            self.network, self.tuning = self.network.tuned(
                streams(trace, self.vocabulary), seconds=share, seed=options.seed
            )
            if isinstance(self.mender, Blend):
                self.mender.network = self.network
            else:
                self.mender = self.network

    def _half(self, mosaic: Mosaic | None, seconds: float) -> float:
        """Of the time half, if both a mosaic and a network are to learn."""
        return seconds / 2 if mosaic and self.network else seconds

    def about(self) -> dict[str, Any]:
        """For provenance: what was learnt from the trace."""
        document: dict[str, Any] = {}
        if self.adaptation:
            document["adapted"] = {"jumps": self.adaptation.factor, "trials": self.adaptation.trials}
        if self.tuning:
            document["tuned"] = {"steps": self.tuning}
        return document


def _proposers(
    trace: Trace,
    model: Mender | None,
    copier: Copier | None,
    examples: Sequence[Trace],
    shipped: Sequence[Example | Stream],
) -> Proposers:
    """Raises ModelError if there is neither a model nor anything to copy with."""
    network = model if isinstance(model, Trained) else None
    vocabulary = (network.vocabulary if network else universal()).extended(trace)
    if model is not None and not (copier and network):
        return Proposers(model, vocabulary, network)
    if not copier:
        raise ModelError("neither a model nor anything to copy with")
    own = streams(trace, vocabulary, shortest=1)
    if not trace.gaps:  # nothing to fill, nothing to copy: the examples' index takes a second
        shipped, examples = (), ()
    named = [s for s in shipped if isinstance(s, Example)]
    bare = [Example("", (s,), universal()) for s in shipped if isinstance(s, Stream)]
    shares = likeness(own, named, vocabulary)
    used = [*bare, *chosen(named, shares)]
    others = [s for e in used for s in e.within(vocabulary)]
    others += [s for t in examples for s in streams(t, vocabulary, shortest=1)]
    copies = copier(own, others)
    mender = Blend(copies, network) if network else copies
    return Proposers(mender, vocabulary, network, copies, familiarity(own, others), used, told(named, shares))


@dataclass(slots=True)
class Plan:
    """Which gaps are to be filled with how many events each, and what became of the others."""

    counts: dict[int, int] = field(default_factory=dict)
    fills: dict[int, Fill] = field(default_factory=dict)

    def leave(self, gap: Gap, reason: str, *, estimated: bool = False) -> None:
        """Say why a gap stays open."""
        self.fills[gap.number] = Fill(gap.number, "left", 0, None, reason=reason, estimated=estimated)


def _planned(trace: Trace, run: Filling, options: Options) -> Plan:
    plan = Plan()
    most = min(LONGEST_FILL, max(SHORT_FILL, TIMES_AS_LONG * len(trace)))
    for gap in trace.gaps:
        if options.only is not None and gap.number not in options.only:
            plan.leave(gap, "not asked for")
            continue
        if gap.count is None and options.unknown == "leave":
            plan.leave(gap, "the tracer gave no count")
            continue
        count = gap.count if gap.count is not None else run.estimate(gap)
        if count > most:
            plan.leave(gap, f"a gap of {count:,} events is too long to fill from {len(trace):,} (at most {most:,})")
        elif not len(trace):
            plan.leave(gap, "no event survives to learn from")
        elif count == 0:
            plan.leave(gap, "no event is missed", estimated=gap.count is None)
        else:
            plan.counts[gap.number] = count
    return plan


def mend_trace(
    trace: Trace,
    model: Mender | None = None,
    options: Options = DEFAULTS,
    *,
    copier: Copier | None = Mosaic,
    examples: Sequence[Trace] = (),
    shipped: Sequence[Example | Stream] = (),
    progress: Progress = lambda done, total: None,
) -> Mended:
    """Fill the trace's gaps (``tracemend.mend`` is this with loading).

    A trained model works together with what ``copier`` makes of the trace's intact part and, as places that count less,
    of ``examples`` and ``shipped`` ones: streams of ids of the universal vocabulary, or named recordings, and of these
    those that the trace is like (alone if there is no copier). Another Mender works alone; None is the copier alone.
    Raises ModelError for a mender that can't draw hypotheses.
    """
    pa.default_memory_pool().release_unused()  # what reading left
    crew = _proposers(trace, model, copier, examples, shipped)
    if options.draws and not isinstance(crew.mender, Mosaic):
        raise ModelError(f"{crew.mender.name} has no hypotheses, only {MOSAIC} has")
    run = Filling(trace, crew.mender, crew.vocabulary)
    plan = _planned(trace, run, options)
    pa.default_memory_pool().release_unused()
    parts, drawn = _filled(crew, run, plan, options, progress)
    provenance = _provenance(trace, crew, options, [str(t.path) for t in examples])
    del crew  # tables take memory, and so does what copies
    pa.default_memory_pool().release_unused()  # freed memory is the system's only when it is given back
    fills = tuple(plan.fills[g.number] for g in trace.gaps)
    tables = Tables(Fields(trace, run.around.ids, run.vocabulary), run.vocabulary, run.scheduled)
    del run
    inferred = tables.inferred(parts)
    if options.hypotheses:
        return Mended(trace, inferred, fills, provenance, tables.hypotheses(drawn))
    return Mended(trace, inferred, fills, provenance, to_count=Draws(tables, drawn) if options.counted else None)


def _filled(
    crew: Proposers, run: Filling, plan: Plan, options: Options, progress: Progress
) -> tuple[list[Filled], list[list[Filled]]]:
    """Fill the gaps as planned; the fills, and all draws of each gap that are kept, in order of the gaps' numbers."""
    trace = run.trace
    places = Places((g for g in trace.gaps if g.number in plan.counts), plan.counts)
    todo = [(g, places.counts[g.number]) for g in places.gaps]
    if not todo:
        return [], []
    crew.adapt(trace, list(places.counts.values()), options)
    mender = crew.mender
    beliefs = propose(mender, run.around, todo, options.seed, progress)
    parts: list[Filled] = []
    drawn: list[list[Filled]] = []
    #: Each hypothesis is a history of its own: what it has in one gap counts in its next.
    weighs = bool(options.hypotheses)
    histories = [run.another(weighs) for _ in range(options.draws)]

    def draw(gap: Gap, count: int, believed: Beliefs) -> tuple[list[Beliefs], list[Filled]]:
        """What is drawn of a gap, and what each history makes of that."""
        if not (histories and isinstance(mender, Mosaic)):
            return [], []
        kinds = hypotheses(mender, run.around, gap, count, options.draws, options.seed)
        told = [believed.told(k, DRAWN) for k in kinds]
        return told, [history.fill(gap, count, b)[0] for history, b in zip(histories, told, strict=True)]

    for (gap, count), believed in zip(todo, beliefs, strict=True):
        others: list[Filled] | None = None
        if options.suits == "figures":
            told, others = draw(gap, count, believed)
            proposed = told[nearest_in_counts(others)]
            filled, unmet = run.fill(gap, count, proposed, believed)
        else:
            proposed = believed
            filled, unmet = run.fill(gap, count, proposed)
        mean = float(filled.confidence.mean())
        if mean < options.refuse:
            reason = f"mean confidence {mean:.2f} is below {options.refuse:g}"
            fill = Fill(
                gap.number, "refused", 0, mean, gap.count is None, reason, drawn=count if options.counted else 0
            )
            plan.fills[gap.number] = fill
            if not fill.drawn:
                continue
        if others is None:
            _, others = draw(gap, count, believed)
        for history, other in zip(histories, others, strict=True):
            history.remember(other)
        if options.kept:
            drawn.append([other.narrow() for other in others[: options.kept]])
        if gap.number in plan.fills:
            continue
        agreement = None
        if options.hypotheses:
            agreement = float(np.mean([other.ids == filled.ids for other in others[: options.hypotheses]]))
        run.remember(filled)
        parts.append(filled)
        changed = int((filled.ids != proposed.events[:, 0]).sum())
        plan.fills[gap.number] = Fill(
            gap.number, "filled", len(filled.ids), mean, gap.count is None, "", unmet, agreement, changed=changed
        )
    plan.fills |= {f.gap: f for gap in places.gaps for f in places.told(plan.fills[gap.number])}
    parts = [f for whole in parts for f in places.fills(whole)]
    drawn = [list(each) for others in drawn for each in zip(*map(places.fills, others), strict=True)]
    parts.sort(key=lambda f: f.gap.number)
    drawn.sort(key=lambda others: others[0].gap.number)
    return parts, drawn


def _provenance(trace: Trace, crew: Proposers, options: Options, examples: Sequence[str]) -> dict[str, Any]:
    """How a mended trace was made (``Mended.provenance``)."""
    alike = [e for e in crew.shipped if e.name and not e.always]
    named = {own: [{"name": e.name, "sha256": e.sha256} for e in alike if e.own is own] for own in (True, False)}
    asked = options.as_dict()
    document: dict[str, Any] = {
        "tracemend": __version__,
        "model": crew.mender.name,
        "model_sha256": crew.network.digest if crew.network else "",
        "seed": options.seed,
        "input": str(trace.path) if trace.path else "",
        "input_sha256": trace.provenance.get("sha256", ""),
        "format": trace.format,
        "options": {
            "unknown": asked.pop("unknown"),
            "refuse": asked.pop("refuse"),
            "examples": list(examples),
            "shipped": sum(len(e) for e in crew.shipped if not e.own),
            **({"programs": named[False]} if named[False] else {}),
            **({"library": named[True]} if named[True] else {}),
            "arch": trace.provenance.get("arch", DEFAULT_ARCH),
            **asked,
            **crew.about(),
        },
    }
    if crew.familiar is not None:
        enough = crew.familiar >= FAMILIAR
        document["familiar"] = {"share": round(crew.familiar, 4), "length": LENGTH, "enough": enough}
    if crew.alike:
        document["alike"] = list(crew.alike)
    if trace.partial is not None:
        document["windows"] = trace.partial.as_dict(len(trace))
    return document
