"""The study's questions at a glance: claimed, found, why.

No number stands in the text: ``{sssd-s4 10}`` is what ``published.csv`` has for that model and blackout (mean accuracy
unless a measure and a benchmark follow), every other name is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable

from docs.common import load
from docs.paper import (
    BENCHMARKS,
    CORRECTED,
    FIRST,
    LOOKUP,
    LSTM,
    MASKED,
    PERIOD,
    PRINTED,
    PUBLISHED,
    RANKS,
    Line,
    Paper,
    one,
    span,
)
from tracemend.judging.report import markdown_table

TEXT = {
    "RQ1: which model?": (
        "At a blackout of 1 SSSD-S4 is best ({sssd-s4 1}), before SSSD-SA ({sssd-sa 1}), DiffWave ({diffwave 1}) and "
        "CSDI-S4 ({csdi-s4 1}). At 10 SSSD-SA ({sssd-sa 10}, perfect {sssd-sa 10 perfect}) and SSSD-S4 ({sssd-s4 10}, "
        "perfect {sssd-s4 10 perfect}) are level, before DiffWave ({diffwave 10}) and CSDI-S4 ({csdi-s4 10}).",
        "SSSD-S4 at a blackout of 10:<br>{ways 10}",
        "{seen} % of the test windows occur word for word in training: a lookup is right almost everywhere. {looped} % "
        "of the test events are one loop: copying its period restores them without learning. The networks must name "
        "calls as points on a line, by rank; with binary digits and the other corrections the same networks learn most "
        "of the rest.",
    ),
    "RQ2: longer gaps, shorter windows, the end?": (
        "Accuracy falls slowly with the blackout, from {sssd-s4 5} at 5 to {sssd-s4 40} at 40, ROUGE-L from "
        "{sssd-s4 5 rouge_l_published} to {sssd-s4 40 rouge_l_published}. Windows of 50 are worse than windows of 200 "
        "({first}, blackout 40: {sssd-s4-length50 40 accuracy compress-gzip} and {sssd-s4 40 accuracy compress-gzip}), "
        "the end is worse than the centre (blackout 5: {sssd-s4-end 5} and {sssd-s4 5}; {first}, 10: "
        "{sssd-s4-end 10 accuracy compress-gzip} and {sssd-s4 10 accuracy compress-gzip}).",
        "Blackout of 40:<br>{ways 40}<br>Blackout of 5 at the end:<br>{end}<br>{first}, blackout of 10, windows of 50:"
        "<br>{short}",
        "The slow fall is the loop's. A window of 50 shows too little of the loop to copy it; who knows the loop from "
        "training needn't see it. At the end there is no context behind the gap to go by. ROUGE-L as published "
        "counts a separator behind each event, which always matches.",
    ),
    "RQ3: an LSTM?": (
        "An LSTM fed its own output falls from {lstm 1} at one event to {lstm 2} at two and {lstm 5} at five. "
        "SSSD-S4's {sssd-s4 1} is set against it.",
        "At the window's end, LSTM:<br>{lstm}<br>SSSD-S4, corrected:<br>{sssd}",
        "With a softmax over calls and its state kept from step to step an LSTM doesn't fall; what is printed for two "
        "and five events agrees with repeating its first prediction. {sssd-s4 1} is for one event in the centre; for "
        "five, SSSD-S4 has {sssd-s4 5} in the centre and {sssd-s4-end 5} at the end, as printed.",
    ),
    "RQ4: which calls?": (
        "Type accuracy by kernel module ({sssd-s4 10 type_accuracy} over all) falls with the module's share of the "
        "events: rare calls are restored badly since they are rare.",
        "{first}, blackout of 10, at ranks {ranks}:<br>{by rank}",
        "A network that must name calls as points on a line restores the commonest few. Coded otherwise, the same one "
        "restores most of the rare ones, too. The public windows hold ids without names: kernel modules are compared "
        "on other data.",
    ),
}

#: What a line is called here.
NAMES = {
    "as printed": PRINTED,
    "as published, here": PUBLISHED,
    "corrected": CORRECTED,
    "masked S4": MASKED,
    "lookup": LOOKUP,
    "copy period": PERIOD,
}

SHORT = {f"SSSD-S4, {name}" if line in (PRINTED, PUBLISHED, CORRECTED) else name: line for name, line in NAMES.items()}
*_, LAST_RANKS = RANKS


class Numbers(dict[str, str]):
    """What was measured, by name; any other name is looked up in what the study prints."""

    def __init__(self, paper: Paper, measured: dict[str, str]) -> None:
        super().__init__({k: v or "not measured" for k, v in measured.items()})
        self.paper = paper

    def __missing__(self, key: str) -> str:
        model, blackout, *rest = key.split()
        text = self.paper.quoted(model, int(blackout), *rest)
        if not text:
            raise KeyError(f"the study prints no {key}")
        return text


def claims() -> str:
    p = Paper()
    sets = [s for s in load("audit")["sets"] if s["name"].startswith("pts/")]

    def at_end(line: Line, gap: int) -> str:
        return span([p.own(line.mender, b, gap, place="end") for b in BENCHMARKS])

    def last(line: Line) -> str:
        return listed((f"{gap} event{'s' if gap > 1 else ''}", at_end(line, gap)) for gap in (1, 2, 5))

    def by_rank(line: Line) -> str:
        parts = p.ranks(line) if line.mender else {}
        return " / ".join(f"{100 * parts[k]['accuracy']:.1f}" for k in RANKS if k in parts)

    numbers = Numbers(
        p,
        {
            "first": FIRST,
            "seen": span([100 * s["test_windows_in_training"]["train"] for s in sets]),
            "looped": span([100 * s["loop"]["test"] for s in sets]),
            "ways 10": listed((name, p.span(line, 10)) for name, line in NAMES.items()),
            "ways 40": listed((name, p.span(line, 40)) for name, line in NAMES.items()),
            "short": listed(((n, one(p.own(line.mender, FIRST, 10, length=50))) for n, line in NAMES.items()), ", "),
            "end": listed(((n, at_end(line, 5)) for n, line in NAMES.items()), ", "),
            "lstm": last(LSTM),
            "sssd": last(CORRECTED),
            "ranks": " / ".join(RANKS.values()),
            "by rank": listed((name, by_rank(line)) for name, line in NAMES.items()),
        },
    )
    head = "| | claimed | found | why |\n| --- | --- | --- | --- |\n"
    rows = ([f"**{question}**", *(text.format_map(numbers) for text in texts)] for question, texts in TEXT.items())
    return head + "".join("| " + " | ".join(row) + " |\n" for row in rows) + p.end


def short() -> str:
    """Accuracy on the study's windows by what does it, from the lowest to the highest benchmark."""
    p = Paper()

    def rarest(line: Line) -> str:
        parts = p.ranks(line) if line.mender else {}
        return f"{100 * parts[LAST_RANKS]['accuracy']:.1f}" if LAST_RANKS in parts else ""

    body = [[name, p.span(line, 10), p.span(line, 40), rarest(line)] for name, line in SHORT.items()]
    head = ["per cent", "blackout of 10", "blackout of 40", f"calls beyond rank 16 ({FIRST}, 10)"]
    return markdown_table(head, body) + p.end


def listed(found: Iterable[tuple[str, str]], by: str = "<br>") -> str:
    """Names with what was measured, where something was."""
    return by.join(f"{name}: **{text}**" for name, text in found if text)
