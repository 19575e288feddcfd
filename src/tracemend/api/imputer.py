"""Windows of ids filled, for who has no traces."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracemend.diffusion.recipes import RECIPES
from tracemend.errors import ModelError, extra, one_of
from tracemend.menders import MENDERS
from tracemend.menders.base import Mender
from tracemend.mending.run import MOSAIC
from tracemend.trace.vocabulary import numbered
from tracemend.trace.windows import Stream


class Imputer:
    """Fill windows of ids, in the manner of scikit-learn: ``fit(windows)``, then ``impute(ids, known)``.

    model: a mender without a network ("mosaic", "lookup", "n-gram" and so on), or the name of a recipe to train. The
    windows are arrays (B, L) of ids from 0.

    >>> import numpy as np
    >>> windows = np.tile([0, 1, 2, 3], (6, 5))  # six windows of 20 events
    >>> known = np.ones(windows.shape, bool)
    >>> known[:, 8:11] = False
    >>> Imputer("lookup").fit(windows).impute(np.where(known, windows, 0), known)[0, 6:13].tolist()
    [2, 3, 0, 1, 2, 3, 0]
    """

    def __init__(self, model: str = MOSAIC, *, steps: int | None = None, seed: int = 0) -> None:
        self.model, self.steps, self.seed = model, steps, seed
        self._mender: Mender | None = None
        self._first = 0

    def __repr__(self) -> str:
        return f"<Imputer {self.model!r}, {'not fitted' if self._mender is None else 'fitted'}>"

    def fit(self, windows: ArrayLike) -> Imputer:
        """Learn from complete windows (B, L) of ids. Raises ValueError for anything else, among them OptionError for a
        model that there isn't."""
        one_of("model", self.model, [*MENDERS, *RECIPES])
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
            from tracemend.diffusion.restorer import Restorer
            from tracemend.diffusion.training import Training

        chosen = RECIPES[self.model]
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
