"""Menders side by side on a lossy recording whose complete one is at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from tracemend.engines import HERE, Engine
from tracemend.errors import ModelError
from tracemend.judging.downstream import errors, of_mended, of_trace
from tracemend.judging.figures import DRAWS, FILL, LEFT, SCALED, Judging
from tracemend.judging.figures import errors as of_figures
from tracemend.judging.gaps import judge, summary
from tracemend.judging.jobs import shared_out
from tracemend.judging.likelihood import Likelihood
from tracemend.judging.results import Row
from tracemend.menders import Copy, MostFrequent
from tracemend.menders.base import Trained
from tracemend.menders.examples import shipped
from tracemend.mending.mended import Mended
from tracemend.mending.options import Options
from tracemend.mending.run import COPIERS, mend_trace
from tracemend.reckoning.intervals import DRAWS as DRAWS_MADE
from tracemend.recording import Pair
from tracemend.trace.events import Trace

#: Fills a trace's gaps.
Contestant = Callable[[Trace, Options], Mended]

#: What ``mend`` can be made of: the network, the two that copy from the very trace, the shipped recordings as examples
#: for them; the last is what it does if nothing else is asked for.
PARTS = ("network", "lookup", "lookup + examples", "mosaic", "mosaic + examples + network", "mosaic + examples")
#: Those that take a network.
TRAINED = tuple(name for name in PARTS if "network" in name)


def part_of_mend(name: str, model: Trained | None) -> Contestant:
    """One of ``PARTS``."""

    def fill(trace: Trace, options: Options) -> Mended:
        return mend_trace(
            trace,
            model if name in TRAINED else None,
            options,
            copier=COPIERS.get(name.split(" + ", maxsplit=1)[0]),
            shipped=shipped() if "examples" in name else (),
        )

    return fill


def part_for(model: str) -> str:
    """The one of ``PARTS`` that fills as ``mend`` does with a model of this name (any other name: a network's).

    Raises ModelError for what copies but is tried in experiments alone.
    """
    part = f"{model} + examples" if model in COPIERS else "mosaic + examples + network"
    if part not in PARTS:
        raise ModelError(f"evaluate doesn't try the {model}; mend with it, then: report OUT --truth COMPLETE")
    return part


def contestants(model: Trained | None) -> dict[str, Contestant]:
    """What every table shows, by name; the last is what ``mend`` does.

    All decode under the same constraints. Lookup and mosaic have what is intact of the trace itself, and as "examples"
    the recordings that ship with the package.
    """
    plain: dict[str, Contestant] = {
        "most frequent": lambda trace, options: mend_trace(trace, MostFrequent(), options),
        "copy": lambda trace, options: mend_trace(trace, Copy(), options),
    }
    return plain | {name: part_of_mend(name, model) for name in PARTS if model is not None or name not in TRAINED}


def compare(
    pair: Pair,
    model: Trained | None,
    *,
    seed: int = 0,
    likelihood: Likelihood | None = None,
    engine: Engine = HERE,
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Every contestant on one pair. likelihood: see ``judge``. engine: who works.

    Rows of ``summary`` with the mender's name and its seconds of wall time; and how far the figures made from each
    mended trace are from the truth (``figures.errors`` and ``downstream.errors``), those of the trace "left open" and
    "scaled" by what was lost first, those from the draws of the last one last.
    """
    names = list(contestants(model))
    progress(0, len(names), "")
    found = {}

    def work(name: str) -> Callable[[], tuple[list[Row], dict[str, dict[str, float]]]]:
        return partial(_scored, name, pair, model, seed, likelihood)

    # shared out the last ones, which take longest, begin first
    shared = ((n, work(n)()) for n in names) if engine.alone else shared_out(names[::-1], engine, work)
    for name, result in shared:
        found[name] = result
        progress(len(found), len(names), name)
    figures = {k: v for n in sorted(found, key=names.index) for k, v in found[n][1].items()}
    first = {LEFT: figures[LEFT] | errors(of_trace(pair.complete), of_trace(pair.lossy)), SCALED: figures[SCALED]}
    return [row for n in names for row in found[n][0]], first | figures


def _scored(
    name: str, pair: Pair, model: Trained | None, seed: int, likelihood: Likelihood | None
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """One contestant's rows, and errors of figures by how they were made."""
    draws = DRAWS_MADE if name == PARTS[-1] else 0
    begin = time.perf_counter()
    mended = contestants(model)[name](pair.lossy, Options(seed=seed, hypotheses=draws))
    seconds = round(time.perf_counter() - begin, 3)
    rows, figures = scored(name, mended, pair, draws, seed, likelihood)
    return [row | {"seconds": seconds} for row in rows], figures


def scored(
    name: str, mended: Mended, pair: Pair, draws: int, seed: int, likelihood: Likelihood | None
) -> tuple[list[Row], dict[str, dict[str, float]]]:
    """Rows of ``summary`` of one mended trace, and errors of figures by how they were made."""
    rows = [{"mender": name, **row} for row in summary(judge(mended, pair, likelihood), seed)]
    whole = {kind: judged.row() for kind, judged in Judging(pair, mended, draws).whole()}
    figures = {way: of_figures(whole, way) for way in (LEFT, SCALED)}
    figures[name] = of_figures(whole, FILL) | errors(of_trace(pair.complete), of_mended(mended))
    if draws:
        figures[f"{name}, draws"] = of_figures(whole, DRAWS)
    return rows, figures
