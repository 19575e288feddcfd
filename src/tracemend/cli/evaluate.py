"""evaluate: menders against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tracemend.cli.arguments import SPLIT, JsonOption, QuietOption, SeedOption, SplitOption, read_trace, spare_pandas
from tracemend.cli.tables import entries
from tracemend.cli.terminal import limit, print_json, print_lines, print_table, progress, say
from tracemend.errors import TracemendError

#: What the columns of the first table hold.
TERMS = {
    "accuracy:": "the share of a gap's events that are right, each at its position, as a mean over gaps",
    "perfect:": "the share of gaps without a wrong event",
    "ROUGE-L:": "how much of gap and fill stands in the same order",
    "thread:": "the share of events with the right thread",
    "ECE:": "how far the confidence lies from the share that is right, on average",
}


def evaluate(
    lossy: Annotated[
        Path, typer.Argument(help="The trace with gaps, or a folder made by record --pair.", metavar="LOSSY")
    ],
    complete: Annotated[
        Path | None,
        typer.Argument(
            help="The complete recording of the same run. Not needed for a folder made by record --pair.",
            metavar="COMPLETE",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="mosaic: no network takes part. default: the network that comes with tracemend does, too. Or a folder "
            "made by train."
        ),
    ] = "mosaic",
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--held-out",
            help="Another run's trace, by which to judge how likely each fill is. May be given several times.",
        ),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of recordings (corpus/): its validation part is used like --held-out.")
    ] = None,
    split: SplitOption = SPLIT,
    seed: SeedOption = 0,
    jobs: Annotated[
        int, typer.Option(min=1, max=512, help="How many menders to try at once, each in a process of its own.")
    ] = 1,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fill gaps by every mender and compare with what was really lost."""
    with progress("preparing", quiet):  # much is loaded, and the traces are read
        spare_pandas()
        from tracemend.api import load
        from tracemend.datasets import corpus as recordings
        from tracemend.engines import Local
        from tracemend.judging.evaluate import compare
        from tracemend.judging.likelihood import held_out as likelihood_of
        from tracemend.mending.run import COPIERS
        from tracemend.recording import align, pairs
        from tracemend.trace.vocabulary import universal
        from tracemend.trace.windows import streams

        if complete is None and not lossy.is_dir() and lossy.suffix != ".parquet":
            raise TracemendError(f"{lossy}: needs the complete recording of the same run, too: evaluate LOSSY COMPLETE")
        if complete is None:
            pair = pairs.read(lossy / "complete.parquet" if lossy.is_dir() else lossy)
        else:
            pair = align(
                read_trace(lossy, None, "x86_64", False, quiet=True),
                read_trace(complete, None, "x86_64", False, quiet=True),
            )
        others = [read_trace(p, None, "x86_64", False, quiet=True) for p in held_out or []]
        others += recordings(corpus, "validation", split) if corpus else []
        likelihood = likelihood_of([s for t in others for s in streams(t, universal(), shortest=1)], universal())
        network = None if model in COPIERS else load(model)
    with progress("evaluating", quiet) as update:
        rows, figures = compare(pair, network, seed=seed, likelihood=likelihood, engine=Local(jobs), progress=update)
    if json_:
        about = {"lossy": str(lossy), "complete": str(complete), "model": model, "seed": seed}
        about |= {"held_out": [str(t.path) for t in others]}
        print_json({**about, "rows": rows, "figures": figures})
        return
    say(
        f"{len(pair.lossy):,} of {len(pair.complete):,} events survived; {len(pair.missing):,} gaps, every count "
        f"checked against the complete recording. How much of the fills is right, by gap length:"
    )
    _print_lengths(rows)
    if rows:
        _print_gaps([r for r in rows if r["length"] == "all"])
    _print_figures(figures)


def _print_lengths(rows: list[dict[str, Any]]) -> None:
    """A row a bin of length and mender."""
    measures = {"perfect": "perfect", "rouge_l": "ROUGE-L", "threads": "thread", "calibration_error": "ECE"}
    print_table(
        ("length", "gaps", "mender", "accuracy", "95 % interval", *measures.values(), "seconds"),
        [
            (
                name,
                str(r["gaps"]),
                r["mender"],
                f"{r['accuracy']:.3f}",
                "-".join(f"{bound:.3f}" for bound in r["interval"]),
                *(f"{r[k]:.3f}" for k in measures),
                f"{r['seconds']:.1f}",
            )
            for name in dict.fromkeys(r["length"] for r in rows)
            for r in rows
            if r["length"] == name
        ],
        keys=3,
    )
    print_lines(entries(TERMS.items(), limit()))


def _print_figures(figures: dict[str, dict[str, float]]) -> None:
    """The figures made from the whole trace; a row a way to make them, and which is nearest to the truth."""
    say("Figures made from the whole trace: how far they are from those of the complete recording.")
    counted = {
        "call calls": "calls by call",
        "thread calls": "calls by thread",
        "call time_ns": "time by call",
        "call errors": "errors by call",
        "thread cpu_ns": "cpu time by thread",
    }
    others = {
        "call_counts": "calls by thread and call",
        "time_shares": "shares of time in calls",
        "unpaired": "unpaired enters and exits",
        "descriptors": "open descriptors per thread",
    }
    for columns in (counted, others):
        there = [k for k in columns if any(k in far for far in figures.values())]
        told = {name: far for name, far in figures.items() if any(k in far for k in there)}
        rows = [(name, *(f"{100 * far[k]:.1f}%" if k in far else "" for k in there)) for name, far in told.items()]
        print_table(("", *(columns[k] for k in there)), rows)
        for k in there:
            far, name = min((far[k], name) for name, far in told.items() if k in far)
            say(f"Nearest in {columns[k]}: {name} ({100 * far:.1f}%).")


def _print_gaps(rows: list[dict[str, Any]]) -> None:
    """The figures made from each gap, means over all gaps; a row a mender."""
    percents = {
        "count_error": "counts wrong",
        "count_better": "counts better",
        "descriptors": "descriptors wrong",
        "time_error": "time error",
    }
    surprise = {"bits": "bits an event", "likelier": "likelier than the truth"} if "bits" in rows[0] else {}
    say("Figures made from each gap: how far they are from the truth, means over all gaps.")
    body: list[tuple[str, ...]] = [("left open", "100.0%", "", f"{100 * rows[0]['descriptors_open']:.1f}%", "")]
    for r in rows:
        likely = (f"{r['bits']:.2f}", f"{r['likelier']:.1%}") if surprise else ()
        body.append((r["mender"], *(f"{r[k]:.1%}" for k in percents), *likely))
    if surprise:
        body.append(("the truth", "", "", "", "", f"{rows[0]['bits_truth']:.2f}", ""))
    print_table(("", *percents.values(), *surprise.values()), body)
