"""How far do fills of other seeds differ, and those of another rate of jumps?

    python benchmarks/seeds.py [--seeds 3] [--out benchmarks/results/seeds.json]

On the really lossy recordings of the repository, mended as ``tracemend mend`` does it. Two fills of the same gap have
equally many events; one differs where another call, or its other side, stands at the same position. Nothing is compared
with the truth here.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, command
from numpy.typing import NDArray

from tracemend.formats import read
from tracemend.judging.provenance import provenance
from tracemend.menders import Mosaic
from tracemend.menders.adapted import FACTORS
from tracemend.menders.examples import shipped
from tracemend.mending.options import Options
from tracemend.mending.run import Copier, mend_trace
from tracemend.trace.events import Trace
from tracemend.trace.windows import Stream

RECORDINGS = ("deploy", "redis", "shell")
Events = NDArray[np.str_]


def jumping(factor: float, own: Sequence[Stream], others: Sequence[Stream]) -> Mosaic:
    """A mosaic that jumps so much more readily."""
    mosaic = Mosaic(own, others)
    mosaic.factor = factor
    return mosaic


def filled(trace: Trace, options: Options, copier: Copier = Mosaic) -> Events:
    """The inferred events, by name and side."""
    table = mend_trace(trace, options=options, copier=copier, shipped=shipped()).inferred
    return np.array(table.select(["name", "phase"]).to_pandas().agg(" ".join, axis=1), str)


def differ(fills: Sequence[Events]) -> float:
    """The share of events in which the fills aren't all the same."""
    return round(float(np.mean(np.any(np.array(fills[1:]) != fills[0], axis=0))), 4)


def measured(trace: Trace, seeds: int) -> dict[str, Any]:
    first = filled(trace, Options())
    return {
        "gaps": len(trace.gaps),
        "events": len(first),
        "seeds": differ([first, *(filled(trace, Options(seed)) for seed in range(1, seeds))]),
        "seeds_for_figures": differ([filled(trace, Options(seed, suits="figures")) for seed in range(seeds)]),
        "jumps": {
            f"{factor:g}": differ([first, filled(trace, Options(), partial(jumping, factor))]) for factor in FACTORS[1:]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "seeds.json")
    options = parser.parse_args()
    rows = []
    for name in RECORDINGS:
        rows.append({"recording": name, **measured(read(ROOT / "recordings" / name / "lossy.txt"), options.seeds)})
        print(rows[-1], flush=True)
    about = {"command": command(), **provenance(), "seed": 0, "seeds": options.seeds}
    options.out.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


main()
