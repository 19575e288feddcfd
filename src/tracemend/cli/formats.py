"""formats: what can be read."""

from __future__ import annotations

from tracemend.cli.arguments import JsonOption
from tracemend.cli.tables import entries
from tracemend.cli.terminal import limit, print_json, print_lines


def formats(json_: JsonOption = False) -> None:
    """List the formats that can be read."""
    from tracemend.formats import FORMATS

    if json_:
        print_json({f.name: f.title for f in FORMATS.values()})
        return
    print_lines(entries(((f.name, f.title) for f in FORMATS.values()), limit()))
