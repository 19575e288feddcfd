"""Record a command twice at once: lossy.txt, really losing events, and complete.txt.xz, the truth of the same run.

    python scripts/record_pair.py -o FOLDER [--buffer-kb 8] [--delay-ms 1] [--seed 0] -- COMMAND ...

Needs root and tracefs. Fails if the tracer's marks, the kernel's overrun counter and the missing events disagree.
"""

import argparse
import lzma
from pathlib import Path

from tracemend.record import record_pair

parser = argparse.ArgumentParser()
parser.add_argument("-o", "--out", type=Path, required=True)
parser.add_argument("--buffer-kb", type=int, default=8)
parser.add_argument("--delay-ms", type=float, default=1.0)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("command", nargs="+")
options = parser.parse_args()
pair = record_pair(
    options.command, options.out, buffer_kb=options.buffer_kb, delay_ms=options.delay_ms, seed=options.seed
)
complete = options.out / "complete.txt"
(options.out / "complete.txt.xz").write_bytes(lzma.compress(complete.read_bytes(), preset=9))
complete.unlink()
lengths = sorted(len(m) for m in pair.missing)
print(
    f"{options.out}: {len(pair.lossy)} of {len(pair.complete)} events survived, {len(lengths)} gaps, "
    f"lengths {lengths[:1]} to {lengths[-1:]}, median {lengths[len(lengths) // 2] if lengths else 0}"
)
