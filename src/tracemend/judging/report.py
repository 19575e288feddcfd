"""Tables and figures from results of experiments.

Rows that differ in nothing but the seed become one cell: means, with the range over the seeds.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracemend.errors import DataError, OutputError, extra
from tracemend.judging.results import KEY, Row, key
from tracemend.whole import whole_folder

#: The measures of a table's cell, per cent.
TRIPLE = ("accuracy", "perfect", "rouge_l")
Cell = dict[str, Any]


def cells(rows: Sequence[Row], subset: str = "all") -> list[Cell]:
    """One cell for all seeds of a combination, on one part of the windows; parts that hold no window have none.

    Means over seeds of all measures; ``low``, ``high``: the bootstrap interval of the accuracy, averaged over the
    seeds, where there is one; ``spread``: half the range of the accuracy over the seeds. Of equal rows the last counts.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in {key(r): r for r in rows}.values():
        if row["subsets"].get(subset, {}).get("gaps"):
            groups.setdefault(tuple(v for k, v in zip(KEY, key(row), strict=True) if k != "seed"), []).append(row)
    result = []
    for held in groups.values():
        parts = [row["subsets"][subset] for row in held]
        first = held[0]
        cell: Cell = {k: first[k] for k in KEY if k != "seed"} | {"subset": subset, "seeds": len(held)}
        for name in dict.fromkeys(k for p in parts for k, v in p.items() if not isinstance(v, list)):
            cell[name] = float(np.mean([p[name] for p in parts if name in p]))
        bounds = [p["accuracy_interval"] for p in parts if "accuracy_interval" in p]
        if bounds:
            cell["low"], cell["high"] = np.mean(bounds, axis=0).tolist()
        accuracy = [p["accuracy"] for p in parts]
        cell["spread"] = (max(accuracy) - min(accuracy)) / 2
        for name in ("calibration_error", "train_s", "impute_s", "iterations", "parameters"):
            values = [row[name] for row in held if name in row]
            if values:
                cell[name] = float(np.mean(values))
        result.append(cell)
    return result


def named(cell: Cell) -> str:
    """A cell's mender, with what was changed in its recipe."""
    return ", ".join([cell["mender"], *cell["set"]])


def triple(cell: Cell) -> str:
    """Accuracy / perfect rate / ROUGE-L, per cent."""
    return " / ".join(f"{100 * cell[k]:.1f}" for k in TRIPLE)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---" if i == 0 else "---:" for i in range(len(head))], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def by_gap(rows: Sequence[Row], subset: str = "all") -> str:
    """Markdown: a table a data set, window length and place; a row a mender, the weakest first; a column a gap."""
    parts = []
    held = cells(rows, subset)
    for where in dict.fromkeys((c["data"], c["length"], c["place"]) for c in held):
        here = [c for c in held if (c["data"], c["length"], c["place"]) == where]
        gaps = sorted({c["gap"] for c in here})
        most = {g: int(max(c["gaps"] for c in here if c["gap"] == g)) for g in gaps}
        found = {(named(c), c["windows"], c["gap"]): c for c in here}
        lines = list(dict.fromkeys((named(c), c["windows"]) for c in here))
        common = [g for g in gaps if all((*line, g) in found for line in lines)] or gaps
        lines.sort(
            key=lambda line: np.mean([found[*line, g]["accuracy"] for g in common if (*line, g) in found] or [0])
        )
        body = []
        for name, windows in lines:
            line = [name]
            for gap in gaps:
                cell = found.get((name, windows, gap))
                text = triple(cell) if cell else ""
                if cell and cell["seeds"] > 1:
                    text += f" (± {100 * cell['spread']:.1f})"
                if cell and cell["gaps"] < most[gap]:
                    text += f" [{cell['gaps']:.0f}]"
                line.append(text)
            body.append(line)
        head = [f"{where[0]}, windows of {where[1]}, {where[2]}, {subset}"]
        head += [f"gap {g} ({most[g]} window{'s' if most[g] != 1 else ''})" for g in gaps]
        parts.append(markdown_table(head, body))
    return "\n".join(parts)


def subsets(rows: Sequence[Row]) -> list[str]:
    """The names of all parts of windows that the rows report on, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row["subsets"]))


def as_markdown(rows: Sequence[Row]) -> str:
    """All tables; what they hold stands above them. Raises DataError if there is nothing to show."""
    if not rows:
        raise DataError("no rows of results to report on")
    text = (
        "Accuracy / perfect rate / ROUGE-L (eq. 9), per cent, means over seeds (± half their range); in square "
        "brackets the number of windows where it is smaller.\n"
    )
    for name in subsets(rows):
        text += f"\n## {name[0].upper()}{name[1:]}\n\n" + by_gap(rows, name)
    return text


def as_csv(rows: Sequence[Row]) -> str:
    """All cells of all parts, one a line."""
    held = [c for name in subsets(rows) for c in cells(rows, name)]
    if not held:
        raise DataError("no rows of results to report on")
    columns = list(dict.fromkeys(k for c in held for k in c))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for cell in held:
        values = cell | {"set": " ".join(cell["set"])}
        writer.writerow({k: round(v, 5) if isinstance(v, float) else v for k, v in values.items()})
    return text.getvalue()


def write(rows: Sequence[Row], folder: Path, *, plots: bool, force: bool) -> list[Path]:
    """tables.md, tables.csv and figures into a folder, which appears whole or not at all; returns the paths.

    Raises OutputError for a folder that exists, unless ``force`` is given and it holds nothing else, and for a disk
    that refuses.
    """
    if folder.exists() and not (force and folder.is_dir()):
        raise OutputError(f"{folder}: exists already; --force replaces a folder of tables and figures")
    folder = folder.resolve()
    ours = {"tables.md", "tables.csv", *(f"{stem}.svg" for stem, *_ in _figures(rows))}
    foreign = [p for p in folder.iterdir() if p.name not in ours] if folder.exists() else []
    if foreign:
        raise OutputError(f"{folder}: holds {foreign[0].name}, which is no table or figure; not replaced")
    texts = {"tables.md": as_markdown(rows), "tables.csv": as_csv(rows)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_folder(folder) as work:
            for name, text in texts.items():
                (work / name).write_text(text)
            if plots:
                figures(rows, work)
    except OSError as e:
        raise OutputError(f"{folder}: can't be written: {e.strerror or e}") from e
    return sorted(folder.iterdir())


def figures(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Accuracy against the gap's length, one SVG a data set, window length, place and part; returns their paths.

    Raises MissingError where matplotlib (the ``plots`` extra) isn't installed.
    """
    with extra("plots"):
        import matplotlib as mpl
    mpl.use("svg")
    from matplotlib import pyplot as plt

    paths = []
    with mpl.rc_context({"svg.hashsalt": "tracemend", "font.size": 9}):
        for stem, title, here in _figures(rows):
            figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
            for n, name in enumerate(dict.fromkeys(named(c) for c in here)):
                line = sorted((c for c in here if named(c) == name), key=lambda c: c["gap"])
                x, y = [c["gap"] for c in line], [100 * c["accuracy"] for c in line]
                style = "-" if "iterations" in line[0] else "--"
                axes.plot(x, y, style, marker="o", markersize=3, label=name, color=f"C{n % 10}")
                if all("low" in c for c in line):
                    low, high = ([100 * c[k] for c in line] for k in ("low", "high"))
                    axes.fill_between(x, low, high, alpha=0.12, color=f"C{n % 10}")
            axes.set_xscale("log")
            ticks = sorted({c["gap"] for c in here})
            axes.set_xticks(ticks, [str(t) for t in ticks])
            axes.minorticks_off()
            axes.set(xlabel="events lost", ylabel="accuracy (%)", ylim=(0, 101))
            axes.set_title(title, fontsize=10)
            axes.grid(alpha=0.3)
            figure.legend(loc="outside right upper", fontsize=8, frameon=False)
            paths.append(folder / f"{stem}.svg")
            figure.savefig(paths[-1], metadata={"Date": None})
            plt.close(figure)
    return paths


def _figures(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Cell]]]:
    """File name without its suffix, title and cells of each figure."""
    for subset in subsets(rows):
        held = cells(rows, subset)
        for data, length, place in dict.fromkeys((c["data"], c["length"], c["place"]) for c in held):
            here = [c for c in held if (c["data"], c["length"], c["place"]) == (data, length, place)]
            stem = f"{data}-{length}-{place}-{subset}".replace("/", "-").replace(" ", "-")
            yield stem, f"{data}, windows of {length}, {place}, {subset}", here
