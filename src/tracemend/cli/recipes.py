"""recipes: what can be trained."""

from __future__ import annotations

from tracemend.cli.arguments import JsonOption
from tracemend.cli.terminal import print_json, say


def recipes(json_: JsonOption = False) -> None:
    """List the models that can be trained."""
    from tracemend.diffusion.recipes import RECIPES

    if json_:
        print_json({r.name: r.as_dict() for r in RECIPES.values()})
        return
    for r in RECIPES.values():
        say(f"{r.name:28} {r.source}")
