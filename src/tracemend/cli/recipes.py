"""recipes: what can be trained."""

from __future__ import annotations

from tracemend.cli.arguments import JsonOption
from tracemend.cli.tables import entries
from tracemend.cli.terminal import limit, print_json, print_lines


def recipes(json_: JsonOption = False) -> None:
    """List the models that can be trained."""
    from tracemend.diffusion.recipes import RECIPES

    if json_:
        print_json({r.name: r.as_dict() for r in RECIPES.values()})
        return
    print_lines(entries(((r.name, r.source) for r in RECIPES.values()), limit()))
