"""What the data sets share between training and test, for docs/experiments.md.

python benchmarks/audit.py --data ../shared/data [--sets pts/compress-gzip adfa ...]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from common import ROOT, command

from tracemend.datasets import load
from tracemend.datasets.audit import audit
from tracemend.datasets.study import BENCHMARKS
from tracemend.judging.provenance import commit

SETS = [*(f"pts/{name}" for name in BENCHMARKS), "pts-hard30/compress-gzip", "pts-hard15/compress-gzip"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=[*SETS, "adfa", "android", "recordings"])
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "audit.json")
    given = parser.parse_args()
    rows = []
    for name in given.sets:
        rows.append(audit(load(name, ROOT if name == "recordings" else given.data)))
        print(rows[-1], flush=True)
    document = {"command": command(), "commit": commit(ROOT), "sets": rows}
    given.output.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
