"""evaluate: menders against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tracemend.cli.arguments import SPLIT, JsonOption, QuietOption, SeedOption, SplitOption, read_trace, spare_pandas
from tracemend.cli.tables import entries
from tracemend.cli.terminal import limit, print_json, print_lines, print_table, progress, say
from tracemend.errors import TracemendError
from tracemend.trace.evidence import plural

if TYPE_CHECKING:
    from tracemend.judging.evaluation import Answer, Evaluation

#: What the columns of the tables hold that are always shown.
RIGHT = {
    "events lost:": "in the gap, one after the other",
    "events right:": "so many of them are in the fill: the same call, entered or left as it was, at the same place",
    "right thread:": "so many have the thread that they really had, as a mean over gaps",
    "gaps right:": "gaps without a wrong event",
    "confidence off:": "how far the confidence lies from the share that is right, on average",
    "too low, too high:": "more is right than the confidence says, less is; both ways: here more, there less",
}
#: Ways to fill gaps, or to make figures without filling them.
WAYS = {
    "right of lost:": "events right, of all that were lost; what stays open is not right",
    "left open:": "only what survived counts",
    "scaled:": "what survived, as many times as there are events for each that survived",
    "most frequent:": "the commonest event around the gap, again and again",
    "copy:": "the events in front of the gap once more",
    "lookup:": "what stands elsewhere between events like those around the gap, place by place",
    "mosaic:": "pieces of the trace that go on from each other, and end where the gap ends",
    "network:": "what a diffusion model makes of the events around the gap, beside the mosaic",
    "+ examples:": "pieces of the recordings that come with tracemend, too, as mend does it",
    "draws:": "the middle of many fills, each as it may have been, as tracemend figures does it",
    "calls, time, errors:": "how far they are from the truth: all differences together, over the truth",
}
#: What the columns hold that are shown with --all.
TERMS = {
    "length:": "how many events a gap lost",
    "accuracy:": "the share of a gap's events that are right, as a mean over gaps",
    "95 % interval:": "in which that mean lies, by how much the gaps differ",
    "perfect:": "the share of gaps without a wrong event",
    "ROUGE-L:": "how much of gap and fill stands in the same order, whatever is between",
    "thread:": "the share of a gap's events with the right thread",
    "ECE:": "how far the confidence lies from the share that is right, on average (expected calibration error)",
    "seconds:": "that this way took for the whole trace",
}
#: And in the tables of gaps and of whole traces.
OF_GAPS = {
    "counts wrong:": "events too many or too few, by thread and call, over the events that were lost",
    "counts better:": "the share of gaps whose counts are nearer to the truth than if they were left open",
    "descriptors wrong:": "calls on files that were not open then, or were not closed",
    "time error:": "how far an event's time is from the true one, over the length of the gap",
    "bits an event:": "how surprising the fill is to who knows other runs; the less, the likelier",
    "likelier than the truth:": "the share of fills that are less surprising than what was lost",
    "unpaired enters and exits:": "calls of which only one side is there",
    "shares of time in calls:": "how much of all time in calls each call has",
    "open descriptors per thread:": "files that a thread has open at the end",
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
            help="Whose answer comes first: mosaic or lookup (both copy; no network takes part), default (the network "
            "that comes with tracemend takes part, too), or a folder made by train."
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
    everything: Annotated[
        bool, typer.Option("--all", help="Also every way to fill by the length of gaps, and all measures.")
    ] = False,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fill gaps in every way and compare with what was really lost.

    First it is said how much came back right, and whether figures that are corrected by the fills are nearer to the
    truth.
    """
    with progress("preparing", quiet):  # much is loaded, and the traces are read
        spare_pandas()
        from tracemend.api import trained
        from tracemend.datasets import corpus as recordings
        from tracemend.engines import Local
        from tracemend.judging.evaluate import compare, part_for
        from tracemend.judging.evaluation import Evaluation
        from tracemend.judging.likelihood import held_out as likelihood_of
        from tracemend.mending.run import COPIERS
        from tracemend.recording import align, pairs
        from tracemend.trace.vocabulary import universal
        from tracemend.trace.windows import streams

        part = part_for(model)
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
        network = None if model in COPIERS else trained(model)
    with progress("evaluating", quiet) as update:

        def tell(done: int, total: int, name: str) -> None:
            update(done, total, f"ways to fill; the last: {name}" if name else "ways to fill")

        rows, figures = compare(pair, network, seed=seed, likelihood=likelihood, engine=Local(jobs), progress=tell)
    found = Evaluation(rows, figures, pair.lost, len(pair.missing))
    answer = found.answer(part)
    if json_:
        about = {"lossy": str(lossy), "complete": str(complete), "model": model, "seed": seed}
        about |= {"held_out": [str(t.path) for t in others]}
        print_json({**about, **found.as_dict(), "answer": answer.as_dict()})
        return
    say(answer.sentence)
    say(
        f"{len(pair.lossy):,} of {plural(len(pair.complete), 'event')} survived, {plural(len(pair.missing), 'gap')}; "
        "every count was checked against the complete recording."
    )
    _print_right(found, answer)
    _print_ways(found, answer)
    if everything or others:
        say("\nAll measures, by length of gap:")
        _print_lengths(rows)
        if rows:
            _print_gaps(found.overall)
        _print_figures(figures)
        print_lines(entries(OF_GAPS.items(), limit()))
    else:
        say("\nEvery way by the length of gaps, and more measures: --all. As numbers for a program: --json.")


def _print_right(found: Evaluation, answer: Answer) -> None:
    """How much of one way's fills is right, by the length of gaps."""
    rows = [r for r in found.rows if r["mender"] == answer.mender]
    if not rows:
        return
    say(f"\nHow much of the fills is right, of the gaps that were filled ({answer.mender}):")
    print_table(
        ("events lost", "gaps", *(name.removesuffix(":") for name in list(RIGHT)[1:-1])),
        [
            (
                r["length"],
                str(r["gaps"]),
                *(f"{100 * r[k]:.1f} %" for k in ("event_accuracy", "threads", "perfect")),
                _off(r),
            )
            for r in rows
        ],
    )
    print_lines(entries(RIGHT.items(), limit()))


def _off(row: dict[str, Any]) -> str:
    """How far the confidence is off, and in which direction most of that is."""
    off, more = row["calibration_error"], row["confidence"] - row["event_accuracy"]
    way = "both ways" if abs(more) < off / 2 else "too high" if more > 0 else "too low"
    return f"{off:.2f} {way}" if f"{off:.2f}" != "0.00" else "0.00"


def _print_ways(found: Evaluation, answer: Answer) -> None:
    """All ways side by side: how much of what was lost came back right, and how far figures of the whole trace are from
    the truth."""
    from tracemend.judging.corrected import named

    if not answer.compared:
        return
    say("\nAll ways beside each other: how much came back right, and how far figures of the whole trace are off:")
    right = {r["mender"]: f"{100 * found.answer(r['mender']).share:.1f} %" for r in found.overall}
    rows = [
        (way, right.get(way, ""), *(f"{100 * far[k]:.1f} %" for k in answer.compared))
        for way, far in found.figures.items()
    ]
    print_table(("", "right of lost", *map(named, answer.compared)), rows)
    there = " ".join(found.figures) + "calls, time, errors, right of lost"
    print_lines(entries([(k, v) for k, v in WAYS.items() if k.strip("+ :") in there], limit()))


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
    say("\nFigures made from the whole trace: how far they are from those of the complete recording.")
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
    say("\nFigures made from each gap: how far they are from the truth, means over all gaps.")
    body: list[tuple[str, ...]] = [("left open", "100.0%", "", f"{100 * rows[0]['descriptors_open']:.1f}%", "")]
    for r in rows:
        likely = (f"{r['bits']:.2f}", f"{r['likelier']:.1%}") if surprise else ()
        body.append((r["mender"], *(f"{r[k]:.1%}" for k in percents), *likely))
    if surprise:
        body.append(("the truth", "", "", "", "", f"{rows[0]['bits_truth']:.2f}", ""))
    print_table(("", *percents.values(), *surprise.values()), body)
