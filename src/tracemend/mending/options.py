"""The options of a mend: the command line, the library, provenance and report speak of the same ones."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from tracemend.errors import OptionError, number

Unknown = Literal["leave", "estimate"]
#: What a fill is to be right in.
Suits = Literal["positions", "figures"]
#: The fill that suits figures is chosen from so many.
AMONG = 16


@dataclass(frozen=True, slots=True)
class Options:
    """How gaps are to be filled.

    seed: the one source of chance. Fills are the same for every seed, but for what is drawn: hypotheses, fills that
    suit figures, and what ``adapt`` tries out (docs/results/seeds.md).
    unknown: what to do with gaps that have no count. refuse: gaps whose mean confidence is below this stay unfilled.
    hypotheses: so many other fills of all filled gaps together are drawn, each a history of the whole trace.
    only: numbers of the gaps to fill; all if None. suits: whether each event is to be the likeliest at its position, or
    the counts of events are to be right (``mending/choosing.py``: by draws, so only of what can draw; it takes as long
    again). counted: so many fills are drawn to be counted (``reckoning/``), of which the hypotheses are the first ones;
    where there are none, of the fields only those are found that figures are made of, and how sure they are isn't told.

    more_examples: of the recordings that come with the package those of many more programs are there to copy from, too,
    and a trace takes the ones that it is like; without it those of a few programs, always.

    adapt: seconds for which the trace's intact part may be learnt from. The mosaic tries there how readily it should
    jump (``menders/adapted.py``), a network is trained on (``diffusion/tuning.py``), half of the time each. Above 0 the
    fills may differ from run to run.

    Raises OptionError, which is a ValueError, for a value that none of them can have.
    """

    seed: int = 0
    unknown: Unknown = "leave"
    refuse: float = 0.0
    hypotheses: int = 0
    adapt: float = 0.0
    only: frozenset[int] | None = None
    suits: Suits = "positions"
    counted: int = 0
    more_examples: bool = False

    def __post_init__(self) -> None:
        number("seed", self.seed, whole=True)
        number("refuse", self.refuse, 0, 1)
        number("hypotheses", self.hypotheses, whole=True)
        number("adapt", self.adapt)
        for name, kind in (("unknown", Unknown), ("suits", Suits)):
            if getattr(self, name) not in get_args(kind):
                accepted = " or ".join(map(repr, get_args(kind)))
                raise OptionError(f"{name} must be {accepted}, not {getattr(self, name)!r}")
        if self.only is not None and not isinstance(self.only, Set):
            raise OptionError(f"only must be a set of gaps' numbers or None, not {self.only!r}")

    @property
    def draws(self) -> int:
        """So many fills of each gap are drawn, whether or not they are kept."""
        return max(self.kept, AMONG if self.suits == "figures" else 0)

    @property
    def kept(self) -> int:
        """So many of them are kept, to be shown or counted."""
        return max(self.hypotheses, self.counted)

    def as_dict(self) -> dict[str, Any]:
        """For provenance: what was asked for; the seed stands beside it."""
        document: dict[str, Any] = {"unknown": self.unknown, "refuse": self.refuse}
        if self.hypotheses:
            document["hypotheses"] = self.hypotheses
        if self.adapt:
            document["adapt"] = self.adapt
        if self.suits != "positions":
            document["suits"] = self.suits
        if self.more_examples:
            document["more_examples"] = True
        return document


DEFAULTS = Options()


class Changes(TypedDict, total=False):
    """The fields of ``Options`` as keywords."""

    seed: int
    unknown: Unknown
    refuse: float
    hypotheses: int
    adapt: float
    only: frozenset[int] | None
    suits: Suits
    counted: int
    more_examples: bool
