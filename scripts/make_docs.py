"""Write the generated parts of README.md and docs/results.md from benchmarks/results and from real output.

    python scripts/make_docs.py [--check]

A generated part lies between ``<!-- results: NAME -->`` or ``<!-- output: COMMAND -->`` and ``<!-- end -->``.
``--check`` writes nothing and exits 1 if a part is out of date.
"""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tracemend.report import by_gap, cells, named
from tracemend.report import markdown_table as table
from tracemend.results import read_results

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PART = re.compile(r"(<!-- (results|output): (.+?) -->\n)(.*?)(<!-- end -->)", re.S)


def load(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


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


def named_row(row: Any) -> str:
    """A row's recipe, with what was changed in it (the number of iterations has a column of its own)."""
    changes = [s for s in row["settings"] if not s.startswith("iterations=")]
    return ", ".join([row["recipe"], *changes])


def of_study(name: str) -> tuple[list[Any], str]:
    rows = load(name)["rows"]
    commits = ", ".join(sorted({f"`{r['commit'][:10]}`" for r in rows}))
    seeds = ", ".join(sorted({str(r["seed"]) for r in rows}))
    threads = ", ".join(sorted({f"{r['threads']} of {r['cpus']} cores" for r in rows}))
    return rows, (
        f"\nFrom `benchmarks/results/{name}.json`, where every row has its command; commits {commits}, seed {seeds}, "
        f"{threads}.\n"
    )


def triple(score: Any) -> str:
    return " / ".join(f"{100 * score[k]:.1f}" for k in ("accuracy", "perfect", "rouge_l"))


def study() -> str:
    rows, end = of_study("study")
    parts = []
    for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
        held = sorted(
            (r for r in rows if r["benchmark"] == benchmark), key=lambda r: ("train_s" in r, r["all"]["accuracy"])
        )
        first = held[0]
        title = f"#### {benchmark}: {100 * first['loop']:.0f} % of the test stream is one loop of period 14"
        parts.append(f"\n{title}\n\n")
        head = [
            "model",
            "all gaps",
            "gaps outside the loop",
            "windows",
            "iterations",
            "training s",
            "imputing s",
            "parameters",
        ]
        body = []
        for r in held:
            training = [f"{r[k]:,}" if k in r else "" for k in ("iterations", "train_s")]
            size = f"{r['parameters']:,}" if "parameters" in r else ""
            body.append(
                [
                    named_row(r),
                    triple(r["all"]),
                    triple(r["hard"]),
                    f"{r['all']['gaps']}",
                    *training,
                    f"{r['impute_s']:.0f}",
                    size,
                ]
            )
        parts.append(table(head, body))
    return "Accuracy / perfect rate / ROUGE-L (eq. 9), per cent:\n" + "".join(parts) + end


def study_short() -> str:
    """Accuracy on all gaps and on those outside the loop, as published and corrected."""
    rows, end = of_study("study")
    benchmarks = list(dict.fromkeys(r["benchmark"] for r in rows))
    of = {
        (r["recipe"], r["benchmark"]): f"{100 * r['all']['accuracy']:.1f} ({100 * r['hard']['accuracy']:.1f})"
        for r in rows
    }
    body = []
    for name in ("diffwave", "sssd-s4", "sssd-sa", "csdi-s4", "masked-s4", "masked-transformer", "lstm"):
        small = f"{name}-small"
        body.append([name, *(of.get((small + p, b), "") for b in benchmarks for p in ("-published", ""))])
    body += [[name, *(x for b in benchmarks for x in ("", of[name, b]))] for name in ("copy period", "lookup")]
    head = ["", *(f"{b}, {how}" for b in benchmarks for how in ("as published", "corrected"))]
    return table(head, body) + end


def study_by_rank() -> str:
    rows, end = of_study("study")
    parts = []
    for benchmark in dict.fromkeys(r["benchmark"] for r in rows):
        held = sorted((r for r in rows if r["benchmark"] == benchmark), key=lambda r: r["all"]["accuracy"])
        ranks = list(held[0]["by_rank"])
        whole = held[0]["by_rank"]
        head = ["model", *(f"{k} ({whole[k]['events']} events)" for k in ranks)]
        body = [[named_row(r), *(f"{100 * r['by_rank'][k]['accuracy']:.1f}" for k in ranks)] for r in held]
        parts.append(f"\n#### {benchmark}\n\n" + table(head, body))
    return "Accuracy by the call's rank among the training events, per cent:\n" + "".join(parts) + end


def ablation() -> str:
    rows, end = of_study("ablation")
    parts = []
    for recipe, title in (
        ("diffwave-small-published", "As published, with one fault mended"),
        ("diffwave-small", "Corrected, with one correction taken back"),
    ):
        held = sorted((r for r in rows if r["recipe"] == recipe), key=lambda r: len(r["settings"]))
        head = ["", "iterations", "all gaps", "gaps outside the loop", "ranks 5-8", "ranks 9-16", "ranks 17-"]
        body = []
        for r in held:
            change = named_row(r).removeprefix(recipe).removeprefix(", ") or "as it is"
            ranks = [f"{100 * r['by_rank'][k]['accuracy']:.1f}" for k in ("5-8", "9-16", "17-255")]
            body.append([change, f"{r['iterations']:,}", triple(r["all"]), triple(r["hard"]), *ranks])
        parts.append(f"\n#### {title}\n\n" + table(head, body))
    return "Accuracy / perfect rate / ROUGE-L, per cent:\n" + "".join(parts) + end


def sampling() -> str:
    d = load("sampling")
    s = d["step"]
    lines = (
        "One reverse step of SSSD-S4 at the paper's size (47.9 M parameters, batch 1, length 200, one core): "
        f"**{s['held_s']:.2f} s** of CPU time within a chain; {s['anew_s']:.2f} s when kernels, normalised weights and "
        f"the conditioning's share are computed anew in each step ({s['anew_s'] / s['held_s']:.1f} times); "
        f"{s['plain_s']:.2f} s when moreover the kernels' Cauchy sums are computed as the paper writes them "
        f"({s['plain_s'] / s['held_s']:.1f} times).\n\n"
    )
    head = [
        "model",
        "sampler",
        "steps",
        f"seconds for {d['windows']} windows",
        "accuracy",
        "perfect",
        "accuracy outside the loop",
    ]
    body = [
        [r["recipe"], r["sampler"], str(r["steps"]), f"{r['seconds']:.1f}"]
        + [f"{100 * r[k]:.1f}" for k in ("accuracy", "perfect", "hard")]
        for r in d["samplers"]
    ]
    return lines + table(head, body) + source(d, "sampling")


def audit() -> str:
    d = load("audit")

    def percent(x: float) -> str:
        return f"{100 * x:.1f} %"

    body = []
    for r in d["sets"]:
        runs = [percent(r["test_runs_in_training"][str(n)]) for n in (5, 10, 20, 40)]
        shares = [percent(r["distinct_train_windows"]), percent(r["test_windows_in_training"]["train"])]
        loop = f"{percent(r['loop']['test'])} of period {r['loop']['period']}"
        events = f"{sum(r['events'].values()):,}"
        body.append([f"`{r['name']}`", events, f"{r['distinct_ids']}", *shares, *runs, loop])
    head = ["", "events", "ids", "distinct", "in training", "runs of 5", "10", "20", "40", "test events in a loop"]
    return table(head, body) + source(d, "audit")


def rows_of(name: str) -> tuple[list[Any], str]:
    """The rows of an experiment, and where they come from."""
    rows = read_results(RESULTS / f"{name}.jsonl")
    commands = "; ".join(f"`{c}`" for c in dict.fromkeys(r["command"] for r in rows))
    commits = ", ".join(f"`{c[:10]}`" for c in dict.fromkeys(r["commit"] for r in rows))
    seeds = ", ".join(sorted({str(r["seed"]) for r in rows}))
    return rows, f"\nFrom `benchmarks/results/{name}.jsonl`: {commands}, commit {commits}, seed {seeds}.\n"


def honest() -> str:
    rows, end = rows_of("honest")
    lines = "Accuracy / perfect rate / ROUGE-L, per cent; in brackets half the range over seeds.\n\n"
    return lines + "\n".join(by_gap(rows, subset) for subset in ("all", "unseen")) + end


def honest_short() -> str:
    rows, end = rows_of("honest")
    return by_gap([r for r in rows if (r["data"], r["length"]) == ("adfa", 200)], "unseen") + end


def honest_functional() -> str:
    """Does the window's call statistic get better by mending?"""
    rows, end = rows_of("honest")
    held = [c for c in cells(rows, "unseen") if c["gap"] in {10, 40} and c["length"] == 200]
    body = [
        [f"{c['data']}, gap {c['gap']}: {named(c)}"]
        + [f"{100 * c[k]:.1f}" for k in ("count_error", "count_better")]
        + [f"{100 * c[k]:.2f}" for k in ("share_error", "share_error_open")]
        + [f"{100 * c['share_better']:.1f}"]
        for c in sorted(held, key=lambda c: (c["data"], c["gap"], -c["count_error"]))
    ]
    head = ["unseen windows of 200", "count error", "counts better", "share error", "left open", "shares better"]
    return table(head, body) + end


def paper() -> tuple[list[Any], dict[tuple[str, str, str, int], float], str]:
    """Own cells of the grid, what the study prints for (model, benchmark, measure, blackout), and the source."""
    rows, end = rows_of("paper")
    with open(ROOT / "experiments" / "published.csv") as file:
        printed = {
            (r["model"], r["benchmark"], r["measure"], int(r["blackout"])): float(r["per_cent"])
            for r in csv.DictReader(file)
        }
    return cells(rows), printed, end


def paper_tables() -> str:
    """SSSD-S4 as printed beside what was measured here, a table a blackout, a row a benchmark."""
    own, printed, end = paper()
    parts = []
    for blackout in (1, 5, 10, 20, 30, 40):
        here = [c for c in own if (c["gap"], c["length"], c["place"]) == (blackout, 200, "centre")]
        here = [c for c in here if c["data"].startswith("pts/")]
        found = {(named(c), c["data"].removeprefix("pts/")): c for c in here}
        benchmarks = sorted({c["data"].removeprefix("pts/") for c in here})
        best = {n: max(c["accuracy"] for c in here if named(c) == n) for n in map(named, here)}
        names = sorted(best, key=lambda n: (best[n], n))
        body = []
        for b in benchmarks:
            print_ = printed.get(("sssd-s4", b, "accuracy", blackout))
            rouge = printed.get(("sssd-s4", b, "rouge_l_published", blackout))
            line = [b, f"{print_:.1f} / {rouge:.1f}" if rouge is not None else f"{print_:.1f}"]
            for n in names:
                cell = found.get((n, b))
                line.append(f"{100 * cell['accuracy']:.1f} / {100 * cell['rouge_l_published']:.1f}" if cell else "")
            body.append(line)
        parts.append(table([f"blackout {blackout}", "SSSD-S4, as printed", *names], body))
    return "Accuracy / ROUGE-L as published, per cent:\n\n" + "\n".join(parts) + end


def paper_hard() -> str:
    """The study's data without what training and test share."""
    rows, end = rows_of("paper")
    return by_gap([r for r in rows if r["data"].startswith("pts-hard")], "outside the loop") + end


def paper_lstm() -> str:
    """RQ3: the LSTM fed its own output at the window's end."""
    own, printed, end = paper()
    held = [c for c in own if c["mender"] == "lstm-small" and c["place"] == "end" and c["gap"] <= 5]
    gaps = sorted({c["gap"] for c in held})
    body = []
    for data in sorted({c["data"] for c in held}):
        found = {c["gap"]: c for c in held if c["data"] == data}
        body.append([f"{data}, here", *(f"{100 * found[g]['accuracy']:.1f}" for g in gaps)])
    line = [printed.get(("lstm", "average", "accuracy", g)) for g in gaps]
    body.insert(0, ["mean of nine, as printed", *("" if x is None else f"{x:.1f}" for x in line)])
    return table(["events at the end", *map(str, gaps)], body) + end


MAKERS = {
    "paper tables": paper_tables,
    "paper hard": paper_hard,
    "paper lstm": paper_lstm,
    "honest": honest,
    "honest short": honest_short,
    "honest functional": honest_functional,
    "audit": audit,
    "authentic": authentic,
    "authentic details": authentic_details,
    "reading": reading,
    "study": study,
    "study short": study_short,
    "study by rank": study_by_rank,
    "ablation": ablation,
    "sampling": sampling,
}


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
    for path in (
        ROOT / "README.md",
        ROOT / "docs" / "results.md",
        ROOT / "docs" / "study.md",
        ROOT / "docs" / "experiments.md",
    ):
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
