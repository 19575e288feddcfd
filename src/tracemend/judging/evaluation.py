"""What an evaluation found, as Python shows it: how right fills are, and figures made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tracemend.engines import Local
from tracemend.errors import extra
from tracemend.judging.corrected import named
from tracemend.judging.evaluate import compare, scored
from tracemend.judging.figures import LEFT, WHOLE
from tracemend.judging.likelihood import Likelihood, held_out
from tracemend.judging.results import Row
from tracemend.menders.base import Trained
from tracemend.mending.mended import Mended
from tracemend.recording import Pair
from tracemend.trace.events import Trace
from tracemend.trace.evidence import plural
from tracemend.trace.notebook import box, said, table
from tracemend.trace.vocabulary import universal
from tracemend.trace.windows import streams

if TYPE_CHECKING:
    import pandas as pd

#: What is shown of each row, by the name that it has in the table.
SHOWN = {
    "event_accuracy": "right of the inferred events",
    "accuracy": "the same, mean over gaps",
    "perfect": "gaps right",
    "rouge_l": "in the right order",
    "threads": "right thread",
}


@dataclass(frozen=True)
class Answer:
    """What came back of what was lost, by one mender. ``right``: so many of the lost events are in the fills, each at
    its place. ``nearer``: the kinds of figures (of those ``compared``, of which something was lost) that are nearer to
    the truth corrected than left open."""

    mender: str
    lost: int
    right: int
    nearer: tuple[str, ...]
    compared: tuple[str, ...]

    @property
    def share(self) -> float:
        """Events right of events lost: what stays open is not right."""
        return self.right / max(1, self.lost)

    @property
    def sentence(self) -> str:
        if not self.lost:
            return "Nothing was lost, so nothing had to come back."
        told = f"{self.right:,} of {plural(self.lost, 'lost event')} ({100 * self.share:.1f} %) came back right"
        if not self.compared:
            return f"{told}."
        many = f"{len(self.nearer)} of {plural(len(self.compared), 'kind')} of figures"
        others = ", ".join(named(k) for k in self.compared if k not in self.nearer)
        but = f"; not in {others}" if others else ""
        return f"{told}, and in {many} the corrected ones are nearer to the truth than those of what survived{but}."

    def as_dict(self) -> dict[str, Any]:
        return {
            "mender": self.mender,
            "lost": self.lost,
            "right": self.right,
            "nearer": list(self.nearer),
            "compared": list(self.compared),
        }


@dataclass(frozen=True)
class Evaluation:
    """How right fills are. ``rows``: a dictionary for each mender and each bin of lengths of gaps, and one with the
    length "all", of the gaps that were filled: how many of the inferred ``events`` are ``right``, and shares from 0 to
    1, means over gaps (``accuracy``: the right call on the right side at the right position; ``interval``: of 95 %).
    ``figures``: by the way in which figures of the whole trace were made how far they are from the truth, as shares of
    it. ``lost``: events that are really missing, in so many ``gaps``."""

    rows: list[Row]
    figures: dict[str, dict[str, float]]
    lost: int
    gaps: int

    @property
    def overall(self) -> list[Row]:
        """Of each mender the row of all gaps."""
        return [row for row in self.rows if row["length"] == "all"]

    def answer(self, mender: str = "") -> Answer:
        """Of one mender; of the last one, which is what ``mend`` does, where that isn't among them. A mender that draws
        has its figures from the draws."""
        row = next((r for r in self.overall if r["mender"] == mender), self.overall[-1] if self.overall else None)
        name = row["mender"] if row else mender
        ours = self.figures.get(f"{name}, draws") or self.figures.get(name, {})
        left = self.figures.get(LEFT, {})
        compared = tuple(k for k in WHOLE if k in ours and k in left and (left[k] or ours[k]))
        nearer = tuple(k for k in compared if ours[k] < left[k])
        return Answer(name, self.lost, row["right"] if row else 0, nearer, compared)

    def as_dict(self) -> dict[str, Any]:
        return {"answer": self.answer().as_dict(), "rows": self.rows, "figures": self.figures}

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame. Raises MissingError where pandas isn't installed."""
        with extra("pandas"):
            import pandas as pd
        return pd.DataFrame(self.rows)

    def __repr__(self) -> str:
        """Of each mender the events right of events lost."""
        answers = [self.answer(row["mender"]) for row in self.overall]
        right = (
            ", ".join(f"{a.right:,} right ({100 * a.share:.1f} %) by {a.mender}" for a in answers) or "none inferred"
        )
        return f"<Evaluation of {plural(self.gaps, 'gap')}: of {plural(self.lost, 'lost event')} {right}>"

    def _repr_html_(self) -> str:
        columns = ("mender", "events lost in the gap", "gaps", *SHOWN.values())
        rows = [
            (row["mender"], row["length"], f"{row['gaps']:,}", *(f"{100 * row[k]:.1f} %" for k in SHOWN))
            for row in self.rows
        ]
        lost = f"{plural(self.gaps, 'gap')} really lost {plural(self.lost, 'event')}. Of the gaps that were filled:"
        return box(said(self.answer().sentence, lost, title="Evaluation"), table(columns, rows))


def evaluation(
    pair: Pair,
    mended: Mended | None,
    *,
    others: Sequence[Trace] = (),
    seed: int = 0,
    jobs: int = 1,
    network: Trained | None = None,
) -> Evaluation:
    """Judge a mended trace, or every mender if there is none. others: traces of other runs (``likelihood``)."""
    likelihood: Likelihood | None = held_out(
        [s for t in others for s in streams(t, universal(), shortest=1)], universal()
    )
    if mended is None:
        rows, figures = compare(pair, network, seed=seed, likelihood=likelihood, engine=Local(jobs))
    else:
        draws = mended.provenance["options"].get("hypotheses", 0)
        rows, figures = scored(mended.provenance["model"], mended, pair, draws, seed, likelihood)
    return Evaluation(rows, figures, pair.lost, len(pair.missing))
