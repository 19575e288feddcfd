"""What takes the time of a mend: shares of its processor time by part.

    python benchmarks/profiling.py [--mb 20] [--out benchmarks/results/profiling.json]

The recording ``recordings/deploy``, repeated with its times moved on. Mended once beforehand: nothing is compiled
or loaded while it is measured. The profiler's own time is in the shares, not in the seconds.
"""

import argparse
import cProfile
import json
import pstats
import sys
import tempfile
import time
from pathlib import Path

from common import ROOT, command

from tracemend.formats import read
from tracemend.judging.provenance import provenance
from tracemend.menders.examples import shipped
from tracemend.mending.run import mend_trace

sys.path.insert(0, str(ROOT / "scripts"))
from enlarge import enlarge

#: Parts by the functions that stand for them (file and name), each with all that it calls, less the parts in it.
PARTS = {
    "forward and backward through the gaps (menders/passes.py)": ("passes.py", "fill"),
    "the states of each gap's surroundings (menders/chain.py)": ("chain.py", "chain"),
    "the best matching sites (menders/places.py)": ("places.py", "best"),
    "a fill that satisfies the constraints, its threads and times (mending/filling.py)": ("filling.py", "fill"),
    "the index of the trace and of the examples (menders/mosaic.py)": ("mosaic.py", "__init__"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mb", type=float, default=20)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "profiling.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.txt"
        enlarge(ROOT / "recordings" / "deploy" / "lossy.txt", path, int(options.mb * 1e6))
        trace = read(path)
    examples = shipped()
    mend_trace(trace, shipped=examples)
    begun = time.process_time()
    mended = mend_trace(trace, shipped=examples)
    seconds = time.process_time() - begun
    profile = cProfile.Profile(time.process_time)
    profile.runcall(mend_trace, trace, shipped=examples)
    stats = pstats.Stats(profile)
    total = stats.total_tt  # type: ignore[attr-defined]
    shares = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.stats.items():  # type: ignore[attr-defined]
        for name, (where, what) in PARTS.items():
            if Path(file).name == where and function == what and "tracemend" in file:
                shares[name] += cumulative / total
    document = {
        "command": command(),
        **provenance(),
        "events": len(trace),
        "gaps": len(trace.gaps),
        "inferred": mended.inferred.num_rows,
        "cpu_s": round(seconds, 2),
        "ms_an_inferred_event": round(1000 * seconds / mended.inferred.num_rows, 4),
        "shares": {name: round(share, 3) for name, share in shares.items()}
        | {"all else": round(1 - sum(shares.values()), 3)},
    }
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    print(options.out)


main()
