"""Should a call with an inferred side count for as long as its two sides are apart, even if none ever took so long?

    python benchmarks/plausible.py [--draws 8] [--seed 0] [--out FILE]

On the validation recordings that ranges of figures are fitted on (scripts/calibrate_figures.py): complete ones with
simulated losses, and the system calls of whole machines that truly lost events. Each is mended once, and the time in
calls by call is made of its draws: with every duration believed; with those that a smaller share of calls reaches than
PLAUSIBLE (reckoning/lasting.py) taken for usual ones, or left out. error: over the truth, summed over calls, a mean
over recordings. nearer: recordings in which it is less than that of the trace left open. held: the share of ranges, of
calls of which something was lost, that hold the truth. width: of all of a recording's ranges over the truth, a median.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from common import ROOT, command

sys.path.insert(0, str(ROOT / "scripts"))

from calibrate_figures import losses

from tracemend.judging.evaluate import PARTS, contestants
from tracemend.judging.provenance import provenance
from tracemend.mending.mended import INFERRED, Mended
from tracemend.mending.options import Options
from tracemend.reckoning import events, lasting
from tracemend.reckoning.lasting import Lasting
from tracemend.reckoning.tally import TIME, Asked
from tracemend.reckoning.whole import reckoned
from tracemend.recording import Pair
from tracemend.trace.events import Trace

BY_CALL = Asked(("call",))
#: Shares of calls below which a duration isn't believed; None: all are.
SHARES = (None, 1e-2, 1e-3, 1e-4)


@contextmanager
def believed(share: float | None, usual: bool) -> Iterator[None]:
    def told(trace: Trace) -> dict[str, Lasting]:
        if share is None:
            return {}
        with patch.object(lasting, "PLAUSIBLE", share):
            found = lasting.lasting(trace)
        return found if usual else {name: known._replace(usual=0) for name, known in found.items()}

    with patch.object(events, "lasting", told):
        yield


def row(pair: Pair, mended: Mended, draws: int) -> dict[str, Any]:
    """Of the time in calls by call, of which there is some."""
    made = reckoned(mended, draws, BY_CALL)
    told = {r["key"]: r for r in made.figures("call").of("time_ns").to_pylist()}
    keys, sides = made.sides("call")
    apart = dict(zip(keys.keys, (sides[:, :, TIME] != sides[:1, :, TIME]).any(axis=0).tolist(), strict=True))
    whole = reckoned(Mended(pair.complete, INFERRED.empty_table(), (), {}), 1, BY_CALL)
    truth = {k: columns[TIME] for k, columns in whole.counted.observed.counts["call"].items()}
    nothing = {"observed": 0, "estimate": 0, "low": 0, "high": 0}
    rows = [(t, told.get(k, nothing), apart.get(k, False)) for k in {*truth, *told} for t in [truth.get(k, 0)]]
    lost = [(t, r) for t, r, differs in rows if differs or t != r["observed"]]
    total = sum(truth.values())
    return {
        "left": sum(abs(r["observed"] - t) for t, r, _ in rows) / total,
        "error": sum(abs(r["estimate"] - t) for t, r, _ in rows) / total,
        "lost": len(lost),
        "held": sum(r["low"] <= t <= r["high"] for t, r in lost),
        "width": sum(r["high"] - r["low"] for _, r in lost) / max(1, sum(t for t, _ in lost)),
    }


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "recordings": len(rows),
        "left": round(float(np.mean([r["left"] for r in rows])), 4),
        "error": round(float(np.mean([r["error"] for r in rows])), 4),
        "nearer": sum(r["error"] < r["left"] for r in rows),
        "held": round(sum(r["held"] for r in rows) / max(1, sum(r["lost"] for r in rows)), 4),
        "width": round(float(np.median([r["width"] for r in rows])), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "plausible.json")
    options = parser.parse_args()
    ways = {("all believed" if s is None else f"usual below {s:g}"): (s, True) for s in SHARES}
    ways["left out below 0.001"] = (1e-3, False)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for how, name, pair in losses(ROOT / "corpus", options.seed):
        if how == "machine":
            continue
        mended = contestants(None)[PARTS[-1]](pair.lossy, Options(options.seed, hypotheses=options.draws))
        for way, (share, usual) in ways.items():
            with believed(share, usual):
                found.setdefault(how, {}).setdefault(way, []).append(row(pair, mended, options.draws))
        print(how, name, flush=True)
    results = {how: {way: summed(rows) for way, rows in held.items()} for how, held in found.items()}
    settings = {"draws": options.draws, "seed": options.seed}
    document = {"command": command(), **settings, **provenance(), "time in calls by call": results}
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(results, indent=1))


main()
