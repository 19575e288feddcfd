"""datasets: what experiments run on, listed, fetched, audited."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tracemend.cli.arguments import JsonOption, QuietOption
from tracemend.cli.tables import entries as listing
from tracemend.cli.terminal import limit, print_json, print_lines, print_table, progress, say, tell
from tracemend.errors import TracemendError

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Names of data sets (see: tracemend datasets list). If not given: all.", metavar="NAMES..."),
]


def listed(json_: JsonOption = False) -> None:
    """List the data sets with their terms and whom to cite."""
    from tracemend.datasets import DATASETS

    if json_:
        print_json([e.as_dict() for e in DATASETS.values()])
        return
    for family in dict.fromkeys(e.family for e in DATASETS.values()):
        entries = [e for e in DATASETS.values() if e.family == family]
        first = entries[0]
        title = first.title if len(entries) == 1 else f"{first.title}; {len(entries)} of this kind"
        named = [(first.name, title), *((e.name, e.title) for e in entries[1:])]
        about = {"home": first.home, "terms": first.terms, "cite": first.citation, "note": first.note}
        print_lines(listing([*named, *((f"    {key}:", text) for key, text in about.items())], limit()))


def fetch(
    names: NamesArgument = None,
    archive: Annotated[
        Path | None, typer.Option(help="The archive, if you have it already, instead of downloading it (adfa).")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder to fill. If not given: the cache ($TRACEMEND_DATA).")
    ] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Bring data sets from their public homes. Their content is checked; what is wrong leaves nothing behind."""
    from tracemend.datasets import DATASETS, fetch, find

    # the hard versions are made from the same files
    chosen = names or list({e.file: n for n, e in reversed(DATASETS.items()) if e.fetch}.values())[::-1]
    paths = []
    for name in chosen:
        tell(f"{name}: {find(name).home}")
        with progress(f"fetching {name}", quiet):
            paths.append(fetch(name, to, archive))
        if not json_:
            say(str(paths[-1]))
    if json_:
        print_json({"files": [str(p) for p in paths]})


def audit(
    names: NamesArgument = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A folder with the data sets, instead of what fetch has brought.")
    ] = None,
    length: Annotated[int, typer.Option(min=1, help="How many events a window has.")] = 200,
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say how much of the test part also occurs in the training part, and how much of it is one loop."""
    from tracemend.datasets import DATASETS, cache, load
    from tracemend.datasets.audit import audit, twins

    folder = cache() if source is None else source
    there = [n for n, e in DATASETS.items() if (folder / e.file).exists() and not n.startswith("pts-hard")]
    chosen = names or there
    if not chosen:
        raise TracemendError(f"{folder}: no data set there; 'tracemend datasets fetch' brings what is public")
    rows, study = [], {}
    with progress("audit", quiet) as update:
        for done, name in enumerate(chosen):
            update(done, len(chosen), name)
            data = load(name, source, length=length)
            rows.append(audit(data, length))
            if name.startswith("pts/"):
                study[name] = data
    same = twins(study)
    if json_:
        print_json({"sets": rows, "twins": same})
        return
    print_table(
        ("data", "events", "ids", "duplicates", "distinct", "in training", "runs of 5", "10", "20", "40", "loop"),
        [
            (
                r["name"],
                f"{sum(r['events'].values()):,}",
                str(r["distinct_ids"]),
                f"{r['duplicates']['dropped']:,}",
                f"{r['distinct_train_windows']:.1%}",
                f"{r['test_windows_in_training']['train']:.1%}",
                *(f"{share:.1%}" for share in r["test_runs_in_training"].values()),
                f"{r['loop']['test']:.1%} of {r['loop']['period']}",
            )
            for r in rows
        ],
    )
    say(
        f"\nduplicates: traces left out because another one is equal. distinct: share of different windows among the "
        f"training windows of {length} events (every fifth is taken). in training: share of test windows that occur "
        "there, too, and of test stretches of 5 to 40 events in a row. loop: share of test events in stretches that "
        "repeat themselves after that many events."
    )
    for a, b in same:
        say(f"{a} and {b} have the same test windows; only the names of their ids differ")
