"""The table of formats, made from what each format says of itself."""

from tracemend.formats import FORMATS


def table() -> str:
    """Markdown: each format, how a loss stands in it, when a trace of it is complete, and what can be lost unseen."""
    lines = ["| format | how a loss stands in it | complete, if | what it can lose unseen |", "|---|---|---|---|"]
    for f in FORMATS.values():
        said = f.evidence
        cells = (said.marks or "nothing", said.complete or "never: it can't be known", said.blind or "nothing")
        lines.append(f"| `{f.name}`: {f.title} | " + " | ".join(c.replace("|", "\\|") for c in cells) + " |")
    return "\n".join(lines) + "\n"
