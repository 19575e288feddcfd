"""What a change that should alter nothing must leave alone: the SHA-256 of all that the commands write.

    python scripts/digests.py before.json    # in a checkout of the old commit, by its Python
    python scripts/digests.py after.json     # in the new one
    diff before.json after.json

Every command runs with seed 0 in the root of the checkout. Of results only what depends on the machine is left out:
seconds, commit, versions and the like. ``--quick``: without what takes minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Keys of results that depend on the machine or the checkout.
CLOCKS = {"seconds", "train_s", "impute_s", "commit", "machine", "command", "version", "trained", "device"}
#: The same in every checkout: outputs name the trace that they are of.
WORK = Path("out/digests")
RECORDINGS = ("shell", "redis", "deploy")
FIXTURES = "tests/data"


def tracemend(*arguments: str, stdout: Path | None = None) -> bytes:
    """What a command prints; its exit code stands behind it."""
    done = subprocess.run([sys.executable, "-m", "tracemend", *arguments], capture_output=True, check=False)
    if stdout:
        stdout.write_bytes(done.stdout)
    return done.stdout + f"\nexit code {done.returncode}\n".encode()


def without_clocks(document: Any) -> Any:
    """The same JSON without what depends on the machine."""
    if isinstance(document, dict):
        return {k: without_clocks(v) for k, v in document.items() if k not in CLOCKS}
    return [without_clocks(v) for v in document] if isinstance(document, list) else document


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def rows(path: Path) -> bytes:
    """The rows of a file of results, without clocks."""
    return "\n".join(json.dumps(without_clocks(json.loads(line))) for line in path.read_text().splitlines()).encode()


def mended(name: str, source: str, work: Path, *options: str) -> Iterator[tuple[str, str]]:
    """Everything that a mend writes and prints, and what strip makes of it."""
    target = work / re.sub(r"\W+", "-", name)
    printed = tracemend("mend", source, "-o", str(target), "--seed", "0", *options)
    yield f"{name}: printed", digest(printed.replace(str(target).encode(), b"OUT"))
    for path in sorted(target.rglob("*")) if target.exists() else []:
        if path.is_file():
            yield f"{name}: {path.relative_to(target)}", digest(path.read_bytes())
    if target.exists() and not Path(source).is_dir():
        yield f"{name}: strip", digest(tracemend("strip", str(target)))


def all_digests(work: Path, quick: bool) -> Iterator[tuple[str, str]]:
    traces = [f"recordings/{r}/lossy.txt" for r in RECORDINGS]
    traces += sorted(str(p) for p in Path(FIXTURES).iterdir() if ".gaps." not in p.name and p.suffix != ".md")
    for trace in traces:
        for words in ("scan", "scan --json", "scan --suspect --json", "advise", "advise --json"):
            yield f"{words} {trace}", digest(tracemend(*words.split(), trace))
    for verb in ("formats", "recipes", "datasets list"):
        for words in (verb, f"{verb} --json"):
            yield words, digest(tracemend(*words.split()))
    outputs = ("--merged", "--perfetto")
    yield from mended("mend shell", traces[0], work, *outputs)
    yield from mended("mend shell, json", traces[0], work, "--json")
    yield from mended("mend shell, lookup", traces[0], work, "--model", "lookup", *outputs)
    yield from mended("mend shell, alone, refuse", traces[0], work, "--alone", "--refuse", "0.6", *outputs)
    for fixture in ("ftrace_pipe.txt", "ftrace_drop.txt.xz", "perf_lost.txt.xz", "trace_cmd.dat.xz", "strace_ttt.txt"):
        options = ("--alone", "--suspect", "--unknown", "estimate", "--perfetto")
        yield from mended(f"mend {fixture}", f"{FIXTURES}/{fixture}", work, *options)
    sequence = work / "sequence.txt"
    sequence.write_text("read\nwrite\nclose\n" * 40 + "? 5\n" + "read\nwrite\nclose\n" * 40)
    yield from mended("mend a sequence", str(sequence), work, "--alone", "--merged")
    run = work / "run"
    tracemend("train", traces[0], "-o", str(run), "--recipe", "masked-transformer-tiny", "--steps", "20", "--seed", "0")
    for path in sorted(run.iterdir()) if run.exists() else []:
        if path.name != "log.jsonl":
            yield f"train: {path.name}", digest(path.read_bytes())
    yield from mended("mend shell, trained", traces[0], work, "--model", str(run))
    for results in ("honest", "paper", "authentic"):
        source = f"benchmarks/results/{results}.jsonl"
        yield f"report {results}", digest(tracemend("report", source))
        if results != "authentic":
            yield f"report --csv {results}", digest(tracemend("report", source, "--csv"))
    if quick:
        return
    yield from mended("mend shell, hypotheses", traces[0], work, "--hypotheses", "3")
    yield from mended("mend shell, network", traces[0], work, "--model", "default")
    yield from mended("mend redis", traces[1], work, *outputs)
    yield from mended("mend deploy", traces[2], work, *outputs)
    pair = ("recordings/shell/lossy.txt", "recordings/shell/complete.txt.xz")
    out = work / "evaluate.json"
    tracemend("evaluate", *pair, "--model", "default", "--json", stdout=out)
    yield "evaluate --json", digest(rows(out))
    data: tuple[str, ...] = ("--from", "../shared/data")
    for grid, more in ((GRID, data), (CONTESTS, ())):
        for name, text in grid.items():
            (work / f"{name}.toml").write_text(text)
            out = work / f"{name}.jsonl"
            tracemend("experiment", str(work / f"{name}.toml"), "-o", str(out), "--models", str(work / "models"), *more)
            yield f"experiment {name}: rows", digest(rows(out)) if out.exists() else "none"


GRID = {
    "grid": """
[[grid]]
data = ["pts/compress-gzip"]
menders = ["copy", "most frequent", "copy period", "n-gram", "automaton", "lookup", "mosaic", "masked-s4-tiny"]
lengths = [100]
gaps = [1, 10]
places = ["centre"]
seeds = [0]
windows = 20
"""
}
CONTESTS = {
    "contest": """
[[lost]]
menders = ["n-gram", "lookup + examples", "mosaic + examples", "network"]
how = ["drop"]
most = 1
"""
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    found = {}
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    for name, value in all_digests(WORK, chosen.quick):
        found[name] = value
        print(name, value, flush=True)
    chosen.output.write_text(json.dumps(found, indent=0) + "\n")


if __name__ == "__main__":
    main()
