"""The house as the code has it: a table of its rooms, and a drawing of what goes through them.

Both are read off the package: rooms and their first sentences, what imports what, and what functions take and give.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from docs.common import ROOT, load, source
from docs.drawing import WIDE, sheet

PACKAGE = ROOT / "src" / "tracemend"
#: Files on the ground that nearly every room uses: not worth saying.
GROUND = ("errors.py", "untrusted.py", "whole.py")
DRAWING = ROOT / "docs" / "figures" / "flow.svg"

#: The ways through the house, each from what it takes to what it gives; whatever a function's annotations say.
WAYS = (
    *("formats.read", "recording.ftrace.record_pair", "losses.scanning.scan", "losses.advice.advise"),
    *("trace.windows.streams", "api.train", "menders.mosaic.Mosaic", "mending.run.mend_trace"),
    *("outputs.write", "judging.gaps.judge", "judging.downstream.of_mended"),
)
#: What is drawn, by the types that stand for it, or by a parameter's name where its type says little.
THINGS = {
    "Mended": ("Mended", "Result"),
    "pair with its truth": ("Pair",),
    "Scan": ("Scan",),
    "Advice": ("Advice", "Advices"),
    "scores of gaps": ("GapScore",),
    "Figures": ("Figures",),
    "a mender": ("Mender", "Mosaic", "Restorer"),
    "streams": ("Stream",),
    "Trace": ("Trace", "Several"),
    "trace file": ("path",),
    "a command": ("command",),
    "outputs": ("Path",),
}


def rooms() -> dict[str, str]:
    """The package's folders and single files with the first sentence of what they say of themselves."""
    found = {}
    for path in sorted(PACKAGE.iterdir()):
        file = path / "__init__.py" if path.is_dir() else path
        name = path.name + "/" if path.is_dir() else path.name
        if file.suffix == ".py" and file.exists() and not path.name.startswith("__"):
            text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split())
            found[name] = re.split(r"(?<=\.) (?=[A-Z`])", text)[0]
    return found


@cache
def uses() -> dict[str, set[str]]:
    """For each room the rooms that its files import."""
    names = {n.rstrip("/").removesuffix(".py"): n for n in rooms()}
    found: dict[str, set[str]] = {n: set() for n in names.values()}
    for path in PACKAGE.rglob("*.py"):
        room = names.get(path.relative_to(PACKAGE).parts[0].removesuffix(".py"))
        if room is None:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            parts = (module or "").split(".")
            if parts[0] == "tracemend" and len(parts) > 1 and names.get(parts[1]) not in (None, room):
                found[room].add(names[parts[1]])
    return found


def storeys() -> list[list[str]]:
    """The rooms from the ground up: each stands on the first storey above all that it uses."""
    used, level = uses(), dict[str, int]()

    def height(room: str) -> int:
        if room not in level:
            level[room] = 1 + max((height(r) for r in used[room]), default=-1)
        return level[room]

    top = max(map(height, used))
    return [sorted(r for r in used if level[r] == n) for n in range(top + 1)]


def table() -> str:
    """Markdown: the rooms from the ground up, what each is, and what it uses."""
    said, used = rooms(), uses()
    lines = ["| storey | room | what it holds | uses |", "|---:|---|---|---|"]
    for n, storey in enumerate(storeys()):
        for room in storey:
            below = ", ".join(f"`{r}`" for r in sorted(used[room]) if r not in GROUND)
            lines.append(f"| {n} | `{room}` | {said[room]} | {below} |")
    return "\n".join(lines) + "\n"


def front_door() -> str:
    """Markdown: what a newcomer waits for, before these rooms were built and after."""
    document = load("frontdoor")
    lines = ["| | | seconds | of CPU | MB | other work beside it |", "|---|---|---:|---:|---:|---|"]
    for row in document["rows"]:
        cells = [str(row.get(k, "")) for k in ("wall_s", "cpu_s", "memory_mb", "company")]
        lines.append(f"| {row['what']} | {row['of']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n" + source(document, "frontdoor")


def ways() -> Iterator[tuple[list[str], str, str]]:
    """(what it takes, the function, what it gives) of each way."""
    for way in WAYS:
        module, _, name = way.rpartition(".")
        function: Any = getattr(importlib.import_module(f"tracemend.{module}"), name)
        signature = inspect.signature(function)
        needed = [p for p in signature.parameters.values() if p.name == "model" or _required(p)]
        takes = [t for p in needed if (t := _thing(p.name) or _thing(str(p.annotation))) not in (None, "outputs")]
        gives = name if inspect.isclass(function) else str(signature.return_annotation)
        yield list(dict.fromkeys(map(str, takes))), way, str(_thing(gives))


def _required(parameter: inspect.Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD


def _thing(annotation: str) -> str | None:
    named = re.findall(r"\w+", annotation)
    return next((t for t, names in THINGS.items() if any(n in named for n in names)), None)


#: The column and the row of each thing: no way passes behind another thing.
PLACES = {
    **{"trace file": (1, 0), "Trace": (1, 1), "Scan": (0, 2), "Advice": (0, 3), "streams": (2, 2), "a mender": (2, 3)},
    **{"Mended": (1, 4), "outputs": (0, 5), "Figures": (1, 5), "scores of gaps": (3, 5)},
    **{"a command": (3, 0), "pair with its truth": (3, 1)},
}
#: Sizes of the drawing: from column to column, from row to row, a box with its first line and each further one.
ACROSS, DOWN, BOX, HIGH, MORE = (WIDE - 10) // 4, 88, 152, 26, 15


def svg() -> str:
    """The ways as a drawing: things are boxes with the functions that make them, and arrows say what these take."""
    found = list(ways())
    makers: dict[str, list[str]] = {}
    for _, way, gives in found:
        makers.setdefault(gives, []).append(f"{way.split('.')[0]}: {way.rpartition('.')[2]}")
    boxes = {
        thing: (5 + ACROSS * column + (ACROSS - BOX) // 2, 14 + DOWN * row, HIGH + MORE * len(makers.get(thing, ())))
        for thing, (column, row) in PLACES.items()
    }
    parts = []
    for takes, _, gives in found:
        x2, y2 = boxes[gives][0] + BOX // 2, boxes[gives][1]
        for thing in takes:
            x, y, high = boxes[thing]
            x1, y1 = x + BOX // 2, y + high
            (column, row), (column2, row2) = PLACES[thing], PLACES[gives]
            if row2 - row > 1 and column != column2:  # between the boxes of the rows that it passes
                lane = 5 + ACROSS * max(column, column2)
                way = f"M{x1} {y1}C{x1} {y1 + 24} {lane} {y1 + 16} {lane} {y1 + DOWN - high}V{y2 - 40}"
                way += f"C{lane} {y2 - 16} {x2} {y2 - 26} {x2} {y2 - 4}"
            else:
                bend = (y2 - y1) // 2
                way = f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2 - 4}"
            parts.append(f'<path class="soft" d="{way}" fill="none" stroke="currentColor" stroke-width="1.5"/>')
            parts.append(f'<path class="soft" d="M{x2} {y2}l-4-7h8z" fill="currentColor"/>')
    for thing, (x, y, high) in boxes.items():
        size = f'width="{BOX}" height="{high}" rx="6"'
        parts.append(f'<rect class="paper" x="{x}" y="{y}" {size} fill="currentColor"/>')
        parts.append(f'<rect class="soft" x="{x}" y="{y}" {size} fill="none" stroke="currentColor"/>')
        lines = [("ink", 13, thing), *(("blue", 12, name) for name in makers.get(thing, ()))]
        for n, (colour, size_, text) in enumerate(lines):
            at = f'x="{x + BOX // 2}" y="{y + 17 + MORE * n}" text-anchor="middle" font-size="{size_}"'
            parts.append(f'<text class="{colour}" {at} fill="currentColor">{escape(text)}</text>')
    high = max(y + tall for _, y, tall in boxes.values()) + 14
    return sheet("What goes through the house, and which functions make it", high, parts)


def stale() -> list[str]:
    """The drawing's name if the code has changed since it was made."""
    return [] if DRAWING.exists() and DRAWING.read_text() == svg() else [DRAWING.name]


def write(path: Path = DRAWING) -> list[str]:
    """Draw; returns the drawing's name if it looks other than before."""
    changed = stale()
    path.write_text(svg())
    return changed
