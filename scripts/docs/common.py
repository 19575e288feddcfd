"""Where results lie, and how a part says where its numbers are from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.judging.results import KEY, Row, read_results

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def source(document: Any, name: str) -> str:
    return (
        f"\nFrom `benchmarks/results/{name}.json`: `{document['command']}`, commit `{document['commit'][:10]}`"
        + (f", seed {document['seed']}" if "seed" in document else "")
        + ".\n"
    )


def rows_of(name: str, names: Sequence[str] = KEY, scores: str = "subsets") -> tuple[list[Row], str]:
    """The rows of an experiment and where they come from; none, and nothing to say, if it wasn't run.

    names, scores: see ``read_results``.
    """
    rows = _read(RESULTS / f"{name}.jsonl", tuple(names), scores)
    if not rows:
        return [], ""
    return rows, f"\nFrom `benchmarks/results/{name}.jsonl`, where every row has its command; {provenance(rows)}.\n"


@cache
def _read(path: Path, names: tuple[str, ...], scores: str) -> list[Row]:
    """Once, since many tables and pictures are of the same rows."""
    return read_results(path, names, scores)


def provenance(rows: Iterable[Any]) -> str:
    rows = list(rows)
    commits = ", ".join(sorted({f"`{str(r['commit'])[:10]}`" for r in rows}))
    return f"commits {commits}, seed {', '.join(sorted({str(r['seed']) for r in rows}))}"


def by_part(rows: Sequence[Row], name: str) -> dict[str, dict[str, float]]:
    """What rows that differ in nothing but the seed say by rank or by type: means over the seeds."""
    parts = dict.fromkeys(part for row in rows for part in row.get(name, {}))
    return {part: means([row[name][part] for row in rows if part in row.get(name, {})]) for part in parts}


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}


def folded(summary: str, text: str) -> str:
    """Long tables that a reader opens only if they want them."""
    return f"\n<details markdown><summary>{summary}</summary>\n\n{text}\n</details>\n"
