"""formats: what can be read."""

from __future__ import annotations

from tracemend.cli.arguments import JsonOption
from tracemend.cli.terminal import print_json, say


def formats(json_: JsonOption = False) -> None:
    """List the formats that can be read."""
    from tracemend.formats import FORMATS

    if json_:
        print_json({f.name: f.title for f in FORMATS.values()})
        return
    for f in FORMATS.values():
        say(f"{f.name:12} {f.title}")
