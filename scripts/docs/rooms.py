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


#: Sizes of the drawing, and the row of each thing: no way passes behind another thing.
ACROSS, DOWN, WIDE, HIGH, EDGE = 264, 50, 124, 32, 12
ROWS = {
    **{"Scan": 0, "Advice": 1, "trace file": 2, "Trace": 2, "Mended": 2, "a mender": 3, "streams": 4},
    **{"outputs": 1, "Figures": 2, "scores of gaps": 5, "a command": 5, "pair with its truth": 5},
}


def svg() -> str:
    """The ways as a drawing: things are boxes, functions the arrows between them."""
    found = list(ways())
    depth: dict[str, int] = {}
    for _ in found:  # as deep as the longest way to it
        for takes, _, gives in found:
            for t in takes:
                depth.setdefault(t, 0)
            depth[gives] = max(depth.get(gives, 0), 1 + max((depth[t] for t in takes), default=-1))
    at = {t: (EDGE + n * ACROSS, EDGE + ROWS[t] * DOWN) for t, n in depth.items()}
    width, height = (2 * EDGE + max(z) for z in zip(*((x + WIDE, y + HIGH) for x, y in at.values()), strict=True))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="DejaVu Sans, Verdana, sans-serif" font-size="11">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    names, met = [], set[str]()
    for takes, way, gives in found:
        x2, y2 = at[gives][0], at[gives][1] + HIGH // 2
        for t in takes:
            x1, y1 = at[t][0] + WIDE, at[t][1] + HIGH // 2
            bend = (ACROSS - WIDE) * 2 // 3
            parts.append(
                f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}" fill="none" stroke="#444" '
                'marker-end="url(#tip)"/>'
            )
        # a second function that gives the same has its name below the arrow
        names.append((x2 - 8, y2 + (14 if gives in met else -6), f"{way.split('.')[0]}: {way.rpartition('.')[2]}"))
        met.add(gives)
    for x, y, text in names:
        parts.append(
            f'<text x="{x}" y="{y}" text-anchor="end" fill="#0072B2" stroke="#fff" stroke-width="3" '
            f'paint-order="stroke">{escape(text)}</text>'
        )
    for t, (x, y) in at.items():
        parts.append(f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="6" fill="#F2F2F2" stroke="#444"/>')
        parts.append(f'<text x="{x + WIDE // 2}" y="{y + HIGH // 2 + 4}" text-anchor="middle">{escape(t)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def stale() -> list[str]:
    """The drawing's name if the code has changed since it was made."""
    return [] if DRAWING.exists() and DRAWING.read_text() == svg() else [DRAWING.name]


def write(path: Path = DRAWING) -> list[str]:
    """Draw; returns the drawing's name if it looks other than before."""
    changed = stale()
    path.write_text(svg())
    return changed
