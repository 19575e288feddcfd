"""The library's front: read, mend, train, load. ``import tracemend`` shows these names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracemend.baselines import BASELINES
from tracemend.errors import ModelError
from tracemend.events import Trace
from tracemend.examples import shipped
from tracemend.formats import read
from tracemend.mended import Mended
from tracemend.mender import Mender, Restorer
from tracemend.mending import COPIERS, MOSAIC, Unknown, mend_trace
from tracemend.recipes import Recipe, recipe
from tracemend.training import Step, Training
from tracemend.vocabulary import Vocabulary, by_frequency, numbered, universal
from tracemend.windows import Stream, streams

#: The model that ships with the package.
DEFAULT_MODEL = "default"


def load(path: str | Path = DEFAULT_MODEL) -> Restorer:
    """A trained model from its folder, or the one shipped with the package. Raises ModelError."""
    if str(path) == DEFAULT_MODEL:
        with resources.as_file(resources.files("tracemend") / "models" / DEFAULT_MODEL) as folder:
            return Restorer.load(folder)
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder (the shipped model is called {DEFAULT_MODEL!r})")
    return Restorer.load(folder)


def mend(
    trace: Trace | str | Path,
    model: Restorer | Mender | str | Path = MOSAIC,
    *,
    seed: int = 0,
    unknown: Unknown = "leave",
    refuse: float = 0.0,
    hypotheses: int = 0,
    adapt: float | None = None,
    examples: Sequence[Trace] = (),
    alone: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Mended:
    """Fill a trace's gaps; the trace itself stays as it is.

    model: "mosaic" or "lookup", which copy from the trace's intact part and from examples; a folder or a loaded model,
    used together with the mosaic ("default" is the one that ships with the package); or any other Mender, used alone.
    unknown: "leave" or "estimate" gaps without a count. refuse: gaps whose mean confidence is below this stay unfilled.
    examples: complete traces to copy from, besides the recordings that ship with the package and the intact part of the
    trace itself; alone: nothing that is shipped.
    hypotheses: so many other fills of every filled gap, drawn from what the mosaic holds possible (Mended.hypotheses).
    adapt: seconds for which the trace's intact part is learnt from: the mosaic tries there how readily it should jump,
    a network is trained on, half of the time each; 0: not at all. None: the mosaic alone, in proportion to what was
    lost, and only where nothing like the trace is among the examples. (With a limit in seconds the fills may differ
    from run to run.)
    Raises TraceError for a path that can't be read, ModelError for a model that can't be loaded or has no hypotheses,
    and for seconds that are no number from 0.
    """
    if not isinstance(trace, Trace):
        trace = read(trace)
    chosen: Restorer | Mender | None = None
    if not isinstance(model, str | Path):
        chosen = model
    elif str(model) not in COPIERS:
        chosen = load(model)
    return mend_trace(
        trace,
        chosen,
        copier=COPIERS.get(str(model), COPIERS[MOSAIC]),
        examples=examples,
        shipped=() if alone else shipped(),
        seed=seed,
        unknown=unknown,
        refuse=refuse,
        hypotheses=hypotheses,
        adapt=adapt,
        progress=progress,
    )


def train(
    traces: Iterable[Trace],
    *,
    recipe_name: str = "masked-transformer",
    vocabulary: Vocabulary | None = None,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    held_out: Iterable[Trace] = (),
    log: Callable[[Step], Any] = lambda step: None,
) -> Restorer:
    """Train a model on complete traces (or the intact parts of lossy ones). ``log`` is called after every step.

    steps: iterations, the recipe's own if not given. device: "auto" takes a GPU if there is one.
    For a run that is saved and taken up again use ``tracemend.training.Training``, or the command ``tracemend train``.
    """
    traces, made = list(traces), recipe(recipe_name)
    chosen = vocabulary or (universal() if made.vocabulary == "universal" else by_frequency(traces))
    data = [s for t in traces for s in streams(t, chosen)]
    if not data:
        raise ModelError("no intact stretch of 32 events or more to train on")
    run = Training(made, chosen, total=steps, seed=seed, device=device)
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
        if self.model in BASELINES:
            self._mender = BASELINES[self.model](data)
            return self
        chosen: Recipe = recipe(self.model)
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
