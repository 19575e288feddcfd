"""How far fills of other seeds differ, and those of another rate of jumps (``benchmarks/seeds.py``)."""

from __future__ import annotations

from docs.common import load, source


def table() -> str:
    """Markdown: a row a recording."""
    document = load("seeds")
    jumps = list(document["rows"][0]["jumps"])
    heads = ["recording", "inferred events", "other seeds", "other seeds, `--for figures`"]
    heads += [f"jumps {factor} times as likely" for factor in jumps]
    lines = [f"| {' | '.join(heads)} |", "|---|" + "---:|" * (len(heads) - 1)]
    for row in document["rows"]:
        shares = [row["seeds"], row["seeds_for_figures"], *(row["jumps"][factor] for factor in jumps)]
        cells = [row["recording"], f"{row['events']:,}", *(f"{100 * share:.1f} %" for share in shares)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + source(document, "seeds")
