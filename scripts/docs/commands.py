"""The reference of the command line and of what it writes, made from the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import typer.main

from tracemend.cli.app import command_line
from tracemend.cli.help import EXAMPLES
from tracemend.outputs.overlay import OVERLAY

Command = Any  # typer's own click, which has no public types


def commands(command: Command | None = None, name: str = "tracemend") -> Iterator[tuple[str, Command]]:
    """Every command under its whole name, in the order of --help."""
    command = command or typer.main.get_command(command_line())
    for below, one in getattr(command, "commands", {}).items():
        yield from commands(one, f"{name} {below}")
    if not hasattr(command, "commands"):
        yield name, command


def reference() -> str:
    """Markdown: of each command what it is for, its arguments and its options, and examples."""
    parts = []
    for name, command in commands():
        rows = "".join(_row(p) for p in command.params)
        text = "\n\n".join(" ".join(p.split()) for p in str(command.help).split("\n\n"))
        examples = EXAMPLES.get(name.removeprefix("tracemend "), {})
        typed = "".join(f"    # {meant}\n    {line}\n" for line, meant in examples.items())
        parts.append(
            f"## {name}\n\n{text}\n"
            + (f"\n{typed}" if typed else "")
            + (f"\n| | what it says | if not given |\n|---|---|---|\n{rows}" if rows else "")
        )
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    names = parameter.opts if parameter.param_type_name == "option" else [parameter.human_readable_name.strip("[].")]
    said = " ".join((getattr(parameter, "help", None) or "").split())
    choices = [str(c) for c in getattr(parameter.type, "choices", ())]
    if choices:
        said += f" One of: {', '.join(f'`{c}`' for c in choices)}."
    default = parameter.default
    if parameter.required:
        given = "needed"
    elif default is None or isinstance(default, bool) or default == () or callable(default):
        given = ""
    else:
        given = f"`{default}`"
    cells = (", ".join(f"`{n}`" for n in names), said, given)
    return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |\n"


#: What the columns of the overlay hold. A column that isn't here has no line of its own yet, and a test says so.
MEANING = {
    "gap": "the gap's number, as `scan` counts them",
    "cpu": "the cpu that lost the event; -1 where the tracer doesn't tell",
    "time_ns": "the inferred time in nanoseconds, on the trace's own clock",
    "tid": "the thread; -1 if nothing identifies it",
    "comm": "the thread's command; null if nothing identifies it",
    "name": "the event: a system call by its name without prefix, any other event by the tracer's name",
    "phase": "`enter`, `exit`, or `instant` for what has no two sides",
    "confidence": "how sure name and phase are, 0 to 1",
    "fields": "the fields that are known, by the kernel's names: each a text with a confidence of its own",
    "inferred": "always true",
}


def columns() -> str:
    """Markdown: the overlay's columns with their types."""
    rows = [f"| `{f.name}` | {_type(f.type)} | {MEANING[f.name]} |" for f in OVERLAY]
    return "| column | type | what it holds |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _type(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_map(kind):
        return (
            "map from text to `value` (text) and `confidence` (float); in JSON a list of `name`, `value`, `confidence`"
        )
    return {"string": "text", "float": "float (32 bits)", "bool": "true or false"}.get(str(kind), str(kind))
