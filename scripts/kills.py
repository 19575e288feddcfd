"""Kill commands at random moments and look at what is left.

    python scripts/kills.py [--times 1000] [--seed 0]

After each kill (SIGKILL, SIGTERM, SIGHUP in turn) of ``scan``, ``mend --merged --perfetto --force`` (as a whole, in
pieces, in pieces by two processes, both with ``--resume``) or ``strip`` the input is as it was; the output is absent,
or the old one and whole, or the new one and whole; and once a command has run to its end, nothing else lies beside it.
"""

import argparse
import hashlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
#: Lines of the recording: enough that writing takes a while.
LINES = 4000
TRACEMEND = [sys.executable, "-m", "tracemend"]
#: The same with pieces so small that the recording has several.
IN_PIECES = """
import sys
from tracemend.trace import pieces
pieces.USUAL = pieces.Size(800, 100)
if __name__ == "__main__":
    from tracemend.__main__ import main
    main()
"""
MEND = ["mend", "trace.txt", "--merged", "--perfetto", "--force", "--alone", "--model", "lookup", "-o"]
COMMANDS = {
    "scan": ["scan", "trace.txt"],
    "mend": [*MEND, "out"],
    "pieces": [*MEND, "cut", "--jobs", "1", "--resume"],
    "processes": [*MEND, "cut", "--jobs", "2", "--resume"],
    "strip": ["strip", "old out", "-o", "back.txt", "--force"],
}
OUT = {"mend": "out", "pieces": "cut", "processes": "cut"}


def digest(path: Path) -> str:
    """Of a file, or of all files in a folder; empty if there is nothing."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path] * path.exists()
    return " ".join(f"{p.name}={hashlib.sha256(p.read_bytes()).hexdigest()[:12]}" for p in files)


def run(folder: Path, name: str, kill_after_s: float | None = None, number: signal.Signals = signal.SIGKILL) -> bool:
    """Whether the command came to its end."""
    quiet = subprocess.DEVNULL
    start = [sys.executable, "-c", IN_PIECES] if OUT.get(name) == "cut" else TRACEMEND
    with subprocess.Popen([*start, *COMMANDS[name]], cwd=folder, stdout=quiet, stderr=quiet) as process:
        try:
            process.wait(kill_after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            return False
    return process.returncode in (0, 3)


def faults(folder: Path, expected: dict[str, set[str]]) -> list[str]:
    """Names of files that are none of what they may be."""
    return [name for name, allowed in expected.items() if digest(folder / name) not in allowed]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw = random.Random(asked.seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        lines = (ROOT / "recordings" / "deploy" / "lossy.txt").read_text().splitlines(keepends=True)[:LINES]
        (folder / "trace.txt").write_text("".join(lines))
        took = {}
        for command in COMMANDS:
            begin = time.monotonic()
            assert run(folder, command) or command == "strip", command
            took[command] = time.monotonic() - begin
            if command in ("mend", "pieces"):
                shutil.copytree(folder / OUT[command], folder / f"old {OUT[command]}")
        trace = digest(folder / "trace.txt")
        whole = {name: digest(folder / name) for name in ("out", "cut")}
        for n in range(asked.times):
            command = draw.choice(list(COMMANDS))
            before = {name: digest(folder / name) for name in whole}
            out = OUT.get(command, "")
            if out:
                before[out] = draw.choice(("", whole[out]))
                if not before[out]:
                    shutil.rmtree(folder / out, ignore_errors=True)
                elif not (folder / out).exists():
                    shutil.copytree(folder / f"old {out}", folder / out)
            ended = run(folder, command, draw.uniform(0, 1.1 * took[command]), SIGNALS[n % len(SIGNALS)])
            counts[f"{command} {'ended' if ended else 'killed'}"] += 1
            allowed = {"trace.txt": {trace}, "back.txt": {"", trace.replace("trace.txt", "back.txt")}}
            allowed |= {f"old {name}": {one} for name, one in whole.items()}
            wrong = faults(folder, allowed | {name: {before[name], one} for name, one in whole.items()})
            if wrong:
                raise SystemExit(f"kill {n} of {command}: {', '.join(wrong)} is not what it may be")
        for command in COMMANDS:
            run(folder, command)
        kept = {"trace.txt", "back.txt", "out", "cut", "old out", "old cut"}
        left = {p.name for p in folder.iterdir()} - kept
        if left:
            raise SystemExit(f"left behind: {', '.join(sorted(left))}")
    print("; ".join(f"{n} {what}" for what, n in sorted(counts.items())))
    print("inputs unchanged, every output absent or whole, nothing left behind")


if __name__ == "__main__":
    main()
