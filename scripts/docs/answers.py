"""Questions and their answers in short, from the pages of results themselves (docs/results.md)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

from docs.common import ROOT

#: Pages of results that stand elsewhere in the navigation.
ELSEWHERE = {"Truly lost events": ("figures.md",), "How it is built": ("scale.md",)}


def sections() -> dict[str, list[str]]:
    """The pages of each part of the results, in the order of the navigation."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]
    parts = next(part["Results"] for part in nav if "Results" in part)
    held = {name: list(pages) for part in parts if isinstance(part, dict) for name, pages in part.items()}
    return {name: [*pages, *ELSEWHERE.get(name, ())] for name, pages in held.items()}


def listed(pages: Iterable[str]) -> str:
    """Markdown: each page's question with its answer."""
    lines = []
    for page in pages:
        title, answer, *_ = (ROOT / "docs" / page).read_text().split("\n\n")
        plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", " ".join(answer.split()))
        said = plain.removeprefix("**In short: ").removesuffix("**")
        lines.append(f"- [{title.removeprefix('# ')}]({page})<br>{said[0].upper()}{said[1:]}")
    return "\n".join(lines) + "\n"
