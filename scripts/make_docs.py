"""Write the generated parts of README.md and docs/results.md from benchmarks/results and from real output.

    python scripts/make_docs.py [--check]

A generated part lies between ``<!-- results: NAME -->`` or ``<!-- output: COMMAND -->`` and ``<!-- end -->``.
``--check`` writes nothing and exits 1 if a part is out of date.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PART = re.compile(r"(<!-- (results|output): (.+?) -->\n)(.*?)(<!-- end -->)", re.S)


def load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---" if i == 0 else "---:" for i in range(len(head))], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def source(document: Any, name: str) -> str:
    return (
        f"\nFrom `benchmarks/results/{name}.json`: `{document['command']}`, commit `{document['commit'][:10]}`"
        + (f", seed {document['seed']}" if "seed" in document else "")
        + ".\n"
    )


def by_length(rows: list[Any], measure: str) -> str:
    lengths = list(dict.fromkeys(r["length"] for r in rows))
    menders = list(dict.fromkeys(r["mender"] for r in rows))
    cell = {(r["mender"], r["length"]): r for r in rows}
    gaps = {n: next(r["gaps"] for r in rows if r["length"] == n) for n in lengths}
    head = ["mender", *(f"{n} ({gaps[n]} gaps)" for n in lengths)]
    body = []
    for m in menders:
        values = []
        for n in lengths:
            r = cell[m, n]
            if measure == "triple":
                values.append(f"{r['accuracy']:.2f} / {r['perfect']:.2f} / {r['rouge_l']:.2f}")
            elif measure == "accuracy":
                low, high = r["interval"]
                values.append(f"{r['accuracy']:.3f} ({low:.3f}-{high:.3f})")
            else:
                values.append(f"{r[measure]:.3f}")
        body.append([m, *values])
    return table(head, body)


def authentic() -> str:
    d = load("authentic")
    lines = "Accuracy / perfect rate / ROUGE-L, means over gaps, by the number of events lost:\n\n"
    return lines + by_length(d["all"], "triple") + source(d, "authentic")


def authentic_details() -> str:
    d = load("authentic")
    parts = [
        "### All recordings\n\nAccuracy with 95 % bootstrap intervals over gaps:\n\n",
        by_length(d["all"], "accuracy"),
    ]
    for measure, title in (("threads", "Right thread"), ("calibration_error", "Expected calibration error")):
        parts += [f"\n{title}:\n\n", by_length(d["all"], measure)]
    parts += ["\nSpeed, one core, loading apart:\n\n"]
    parts.append(
        table(
            ["mender", "events restored", "seconds", "events/s"],
            [
                [m, f"{s['events']:,}", f"{s['seconds']:.1f}", f"{s['events_per_second']:,}"]
                for m, s in d["speed"].items()
            ],
        )
    )
    for r in d["recordings"]:
        title = f"{r['recording']} ({r['survived']:,} of {r['complete']:,} events survived, {r['gaps']} gaps)"
        parts += [f"\n### {title}\n\nAccuracy / perfect rate / ROUGE-L:\n\n", by_length(r["rows"], "triple")]
    return "".join(parts) + source(d, "authentic")


def reading() -> str:
    d = load("reading")
    rows = [
        [name, f"{r['events_per_s']:,}", f"{r['plain_lines_per_s']:,}", f"{r['times_slower_than_plain']:.1f}"]
        for name, r in d["results"].items()
    ]
    head = ["reading, one core", "events/s", "plain lines/s in Python", "ratio"]
    return table(head, rows) + source(d, "reading")


MAKERS = {"authentic": authentic, "authentic details": authentic_details, "reading": reading}


def output(command: str) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run = subprocess.run(command.split(), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if run.stderr:
        sys.exit(f"{command}: {run.stderr}")
    lines = [f"$ {command}", *run.stdout.splitlines()]
    return "\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines) + "\n"


def remade(text: str) -> str:
    def make(match: re.Match[str]) -> str:
        begin, kind, name, _, end = match.groups()
        return begin + (MAKERS[name]() if kind == "results" else output(name)) + end

    return PART.sub(make, text)


def main() -> None:
    stale = []
    for path in (ROOT / "README.md", ROOT / "docs" / "results.md"):
        old = path.read_text()
        new = remade(old)
        if new != old:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(new)
    print("written: " + ", ".join(stale) if stale else "all up to date")
    if stale and "--check" in sys.argv:
        sys.exit(1)


main()
