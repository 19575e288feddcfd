"""Complete, lost, or can't tell: what a trace lets one say about its own losses, why, and what to do.

A trace is *lost* where its tracer says that something was lost, with a place (a gap) or without. Where it says nothing,
the format and what the reader saw decide: if the tracer would have said so, the trace is *complete*; if a loss could
have gone unseen, the search for broken pairs of events may settle it; else nobody *can tell*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tracemend.formats import FORMATS
from tracemend.trace.events import Gap, Glance, Trace
from tracemend.trace.evidence import Doubt, Unplaced, plural

Word = Literal["complete", "lost", "can't tell"]
COMPLETE: Word = "complete"
LOST: Word = "lost"
UNKNOWN: Word = "can't tell"

#: What to do where a loss is certain.
ENLARGE = "Record again with a larger buffer (see tracemend advise), or mend the gaps."
RECORD_AGAIN = "Record again with a larger buffer (see tracemend advise)."
#: So many places are named in a sentence.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason``: why, as a clause. ``advice``: what to do, as a sentence; empty where there is nothing to do."""

    word: Word
    reason: str
    advice: str = ""

    def sentence(self, share: str = "") -> str:
        """The word and why, as people read it; ``share``: what is to be said of how much was lost."""
        return f"{self.word.capitalize()}: {self.reason}{share}."

    def as_dict(self) -> dict[str, str]:
        return {"verdict": self.word, "reason": self.reason, "advice": self.advice}


@dataclass(frozen=True, slots=True)
class Losses:
    """All that a trace tells of what it lost: gaps, and losses without a place, the overwritten events among them."""

    gaps: tuple[Gap, ...]
    unplaced: tuple[Unplaced, ...]

    @classmethod
    def of(cls, trace: Trace | Glance) -> Losses:
        before = 0 if isinstance(trace, Glance) else trace.overwritten
        begin = (overwritten(before),) if before else ()
        return cls(trace.gaps, (*begin, *trace.unplaced))

    def __bool__(self) -> bool:
        return bool(self.gaps or self.unplaced)

    def __repr__(self) -> str:
        return f"<Losses: {self.sentence() or 'none'}>"

    @property
    def events(self) -> int:
        """Lost events by the tracer's counts; a lower bound where ``uncounted``."""
        return sum(g.count or 0 for g in self.gaps) + sum(u.count or 0 for u in self.unplaced if u.unit == "events")

    def share(self, kept: int) -> float:
        """Lost events of all that happened, of which so many were kept; a lower bound where ``uncounted``."""
        return self.events / max(1, self.events + kept)

    @property
    def uncounted(self) -> bool:
        """Whether some loss is not told in events."""
        return any(g.count is None for g in self.gaps) or any(
            u.count is None or u.unit != "events" for u in self.unplaced
        )

    def sentence(self) -> str:
        """What was lost, in one clause."""
        found = []
        if self.gaps:
            counted = sum(g.count or 0 for g in self.gaps)
            uncounted = sum(g.count is None for g in self.gaps)
            gaps = plural(len(self.gaps), "gap")
            if uncounted == len(self.gaps):
                found.append(f"{gaps}, the tracer doesn't say of how many events")
            else:
                rest = f", {uncounted:,} of them without a count" if uncounted else ""
                found.append(f"{plural(counted, 'event')} in {gaps}{rest}")
        named = [u.said for u in self.unplaced]
        found += named[:NAMED] + ([f"{len(named) - NAMED:,} more such losses"] if len(named) > NAMED else [])
        return "; ".join(found)


def overwritten(events: int) -> Unplaced:
    """The events that were overwritten before the first one that is left."""
    were = "event was" if events == 1 else "events were"
    return Unplaced(f"{events:,} {were} overwritten before the first one that is left", events)


def doubts(trace: Trace | Glance) -> tuple[Doubt, ...]:
    """Why losses of this trace could have gone unseen.

    A format that doesn't say how one would know that nothing was lost always leaves a doubt, whatever its reader says.
    """
    if trace.doubts or isinstance(trace, Glance):
        return trace.doubts
    known = FORMATS.get(trace.format)
    if known is None or known.evidence.complete:
        return ()
    return (Doubt(f"{known.title} doesn't show all losses", "Scan the trace that it was made from."),)


def verdict(trace: Trace | Glance, suspected: Sequence[Gap] | None = None) -> Verdict:
    """The verdict on a trace; ``suspected``: what the search for broken pairs found, None if there was no search."""
    lost = Losses.of(trace)
    if lost:
        return Verdict(LOST, lost.sentence(), ENLARGE if lost.gaps else RECORD_AGAIN)
    open_doubts = doubts(trace)
    if suspected:
        doubt = open_doubts[0] if open_doubts else None
        why = "nothing is marked" if doubt is None else doubt.why
        return Verdict(
            UNKNOWN,
            f"{why}; and at {plural(len(suspected), 'place')} events don't fit together, as if others were missing "
            f"between them: {_places(suspected)}",
            "Look at these places." if doubt is None else doubt.remedy,
        )
    unsettled = [d for d in open_doubts if not d.unless or suspected is None]
    if unsettled:
        remedies = dict.fromkeys(d.remedy for d in unsettled)
        return Verdict(UNKNOWN, "; ".join(d.why for d in unsettled), " ".join(remedies))
    empty = isinstance(trace, Trace) and not len(trace) and trace.partial is None
    if open_doubts:
        conditions = " or ".join(dict.fromkeys(d.unless for d in open_doubts))
        seen = "nothing was recorded" if empty else "all events fit together"
        return Verdict(COMPLETE, f"no loss is marked and {seen}; this holds {conditions}")
    if empty:
        return Verdict(COMPLETE, "no loss is marked, and nothing was recorded")
    return Verdict(COMPLETE, "no loss is marked, and none can have gone unseen")


def _places(gaps: Sequence[Gap]) -> str:
    places = [f"line {g.line}" + (f" (cpu {g.cpu})" if g.cpu >= 0 else "") for g in gaps[:NAMED]]
    return ", ".join(places) + (f" and {len(gaps) - NAMED:,} more" if len(gaps) > NAMED else "")
