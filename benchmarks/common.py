"""What benchmarks share."""

import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def command() -> str:
    """What was typed to get these results."""
    return " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *map(shlex.quote, sys.argv[1:])])
