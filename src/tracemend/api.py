"""The library's front door: read, mend, train, load. ``import tracemend`` shows these names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracemend.diffusion import DEFAULT_MODEL
from tracemend.errors import ModelError, extra
from tracemend.formats import pieces, read
from tracemend.menders import MENDERS
from tracemend.menders.base import Mender
from tracemend.menders.examples import shipped
from tracemend.mending.mended import Mended
from tracemend.mending.options import DEFAULTS, Changes, Options
from tracemend.mending.parts import How
from tracemend.mending.run import COPIERS, MOSAIC
from tracemend.reckoning.counting import Count
from tracemend.reckoning.figures import Figures
from tracemend.reckoning.fills import OverFills, evaluated
from tracemend.reckoning.intervals import DRAWS
from tracemend.reckoning.whole import asked, reckon
from tracemend.trace.events import Trace
from tracemend.trace.pieces import USUAL, Piece, cut
from tracemend.trace.vocabulary import Vocabulary, by_frequency, numbered, universal
from tracemend.trace.windows import Stream, streams

if TYPE_CHECKING:
    from tracemend.diffusion.restorer import Restorer
    from tracemend.diffusion.training import Step


def load(path: str | Path = DEFAULT_MODEL) -> Restorer:
    """A trained model from its folder, or the one shipped with the package. Raises ModelError, or MissingError where
    PyTorch isn't installed."""
    with extra("diffusion"):
        from tracemend.diffusion import restorer
    return restorer.load(path)


def mend(
    trace: Trace | str | Path,
    model: Mender | str | Path = MOSAIC,
    options: Options = DEFAULTS,
    *,
    examples: Sequence[Trace] = (),
    alone: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **changes: Unpack[Changes],
) -> Mended:
    """Fill a trace's gaps; the trace itself stays as it is.

    model: "mosaic" or "lookup", which copy from the trace's intact part and from examples; a folder or a loaded model,
    used together with the mosaic ("default" is the one that ships with the package); or any other Mender, used alone.
    options: see ``Options``; its fields may also be given as keywords: ``mend(trace, seed=1, refuse=0.5)``.
    examples: complete traces to copy from, besides the recordings that ship with the package and the intact part of the
    trace itself; alone: nothing that is shipped.
    progress: called with the events proposed for so far, and all of them.
    Raises TraceError for a path that can't be read, ModelError for a model that can't be loaded or has no hypotheses,
    and for options that make no sense; MissingError for a network where PyTorch isn't installed.
    """
    if not isinstance(trace, Trace):
        trace = read(trace)
    way = how(model, replace(options, **changes), examples=examples, alone=alone)
    return way.mend(Piece.whole(trace), progress)


def how(
    model: Mender | str | Path = MOSAIC,
    options: Options = DEFAULTS,
    *,
    examples: Sequence[Trace] = (),
    alone: bool = False,
) -> How:
    """How ``tracemend.mending.pieces.mend_pieces`` is to mend a trace that comes in pieces; all as for ``mend``.

    Raises ModelError and MissingError as ``mend`` does.
    """
    chosen: Callable[[], Mender | None] = _copier_alone
    if not isinstance(model, str | Path):
        chosen = partial(_same, model)
    elif str(model) not in COPIERS:
        _loaded(model)  # tells now what can't be loaded
        chosen = partial(_loaded, model)
    copier = COPIERS.get(str(model), COPIERS[MOSAIC])
    return How(chosen, _nothing if alone else shipped, copier, options, tuple(examples))


def figures(
    trace: Trace | str | Path,
    by: str = "call",
    draws: int = DRAWS,
    *,
    span: tuple[int, int] | None = None,
    seed: int = 0,
    examples: Sequence[Trace] = (),
    alone: bool = False,
) -> Figures:
    """The figures that people make from a trace, as far as they can be told after a loss: calls, time in calls, cpu
    time, errors, events; each as it was observed, as it probably was, and between what in nine of ten cases.

    by: "call", "thread", "cpu" or "time" (in slices). draws: so many whole fills of all gaps are drawn. span: of this
    time alone, from and to in ns, both included. seed, examples, alone: as for ``mend``.
    A large trace is gone through in pieces. A trace without losses isn't mended, and all of its figures are exact.
    Raises TraceError for a path that can't be read, ModelError for what figures can't be by or a span that is none.
    """
    count = Count(asked(by, span), _drawing(draws))
    way = how(MOSAIC, Options(seed), examples=examples, alone=alone)
    with TemporaryDirectory(prefix="tracemend-") as folder:
        parts = cut(trace, USUAL) if isinstance(trace, Trace) else pieces(trace)
        return reckon(parts, way, count, lambda: Path(folder)).figures(by)


def over_fills(
    trace: Trace | str | Path,
    figure: Callable[[Trace], Any],
    draws: int = DRAWS,
    *,
    seed: int = 0,
    examples: Sequence[Trace] = (),
    alone: bool = False,
) -> OverFills:
    """A figure of one's own after a loss: ``figure`` is a function of a trace that gives a number, an array of them, or
    a dictionary of numbers; it is called with the trace, and with each of so many draws of what may have happened.

    A draw is a trace with the inferred events in their places: its table has a further column, ``inferred``, and its
    provenance says which draw it is. It can't be written as a recording. Raises as ``mend`` does, and what ``figure``
    raises.
    """
    if not isinstance(trace, Trace):
        trace = read(trace)
    mended = mend(trace, options=Options(seed, hypotheses=_drawing(draws)), examples=examples, alone=alone)
    return evaluated(mended, figure)


def _drawing(draws: int) -> int:
    """Raises ModelError for fewer draws than an interval takes."""
    if draws < 2:
        raise ModelError(f"an interval takes two draws or more, not {draws}")
    return draws


@cache
def _loaded(model: str | Path) -> Mender:
    """Loaded once a process."""
    return load(model)


def _same(mender: Mender) -> Mender:
    return mender


def _copier_alone() -> None:
    """No model."""


def _nothing() -> Sequence[Stream]:
    return ()


def train(
    traces: Iterable[Trace],
    *,
    recipe_name: str = "masked-transformer",
    vocabulary: Vocabulary | None = None,
    steps: int | None = None,
    seed: int = 0,
    held_out: Iterable[Trace] = (),
    log: Callable[[Step], Any] = lambda step: None,
) -> Restorer:
    """Train a model on complete traces (or the intact parts of lossy ones). ``log`` is called after every step.

    recipe_name: see ``tracemend recipes``. steps: iterations, the recipe's own if not given. A GPU is used if there is
    one. For a run that is saved and taken up again use ``tracemend.diffusion.training.Training``, or the command
    ``tracemend train``. Raises MissingError where PyTorch isn't installed.
    """
    with extra("diffusion"):
        from tracemend.diffusion import recipes, training
        from tracemend.diffusion.restorer import Restorer

    traces, made = list(traces), recipes.recipe(recipe_name)
    chosen = vocabulary or (universal() if made.vocabulary == "universal" else by_frequency(traces))
    data = [s for t in traces for s in streams(t, chosen)]
    if not data:
        raise ModelError("no intact stretch of 32 events or more to train on")
    run = training.Training(made, chosen, total=steps, seed=seed)
    for step in run.steps(data, [s for t in held_out for s in streams(t, chosen)]):
        log(step)
    return Restorer(run.recipe, chosen, run.averaged())


class Imputer:
    """Fill windows of ids, in the manner of scikit-learn: ``fit(windows)``, then ``impute(ids, known)``.

    model: a mender without a network ("mosaic", "lookup", "n-gram" and so on), or the name of a recipe to train. The
    windows are arrays (B, L) of ids from 0.
    """

    def __init__(self, model: str = MOSAIC, *, steps: int | None = None, seed: int = 0) -> None:
        self.model, self.steps, self.seed = model, steps, seed
        self._mender: Mender | None = None
        self._first = 0

    def fit(self, windows: ArrayLike) -> Imputer:
        """Learn from complete windows (B, L) of ids. Raises ValueError for anything else, ModelError for the model."""
        ids = np.asarray(windows, np.int64)
        if ids.ndim != 2 or not ids.size or ids.min() < 0:
            raise ValueError(f"windows must be an array (B, L) of ids from 0, not of shape {ids.shape}")
        vocabulary = numbered(int(ids.max()) + 1, np.bincount(ids.ravel()).tolist())
        self._first = len(vocabulary) - int(ids.max()) - 1
        data = [Stream(row + self._first, np.zeros_like(row)) for row in ids]
        if self.model in MENDERS:
            self._mender = MENDERS[self.model](data)
            return self
        with extra("diffusion"):
            from tracemend.diffusion.recipes import recipe
            from tracemend.diffusion.restorer import Restorer
            from tracemend.diffusion.training import Training

        chosen = recipe(self.model)
        run = Training(chosen, vocabulary, total=self.steps, seed=self.seed)
        for _ in run.steps(data):
            pass
        self._mender = Restorer(chosen, vocabulary, run.averaged())
        return self

    def impute(self, ids: ArrayLike, known: ArrayLike) -> NDArray[np.int64]:
        """The windows (B, L) with the positions filled at which known (B, L) is False."""
        if self._mender is None:
            raise ModelError("fit before impute")
        restored = self._mender.restore(np.asarray(ids, np.int64) + self._first, known, self.seed)
        return np.asarray(np.maximum(restored.ids - self._first, 0), np.int64)
