"""Write the generated parts of README.md and docs, and docs/figures, from benchmarks/results and from real output.

    python scripts/make_docs.py [--check] [--quick]

A generated part lies between ``<!-- results: NAME -->`` or ``<!-- output: COMMAND -->`` and ``<!-- end -->``; several
commands have ``;;`` between them. Where they take long it is ``<!-- slow output: COMMAND -->``, and ``--quick`` leaves
the part as it is. ``--check`` writes nothing and exits 1 if a part or a figure is out of date.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from docs.common import ROOT

from docs import (
    answers,
    claims,
    commands,
    corrected,
    figures,
    formats,
    honest,
    informed,
    kernel,
    library,
    lost,
    machines,
    networks,
    paper,
    python,
    recordings,
    rooms,
    seeds,
    study,
)

PART = re.compile(r"(<!-- (results|output|slow output): (.+?) -->\n)(.*?)(<!-- end -->)", re.S)
PAGES = ("README.md", *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")))

MAKERS: dict[str, Callable[[], str]] = {
    "commands": commands.reference,
    "columns": commands.columns,
    "python": python.reference,
    "formats": formats.table,
    "rooms": rooms.table,
    "front door": rooms.front_door,
    "paper claims": claims.claims,
    "paper claims short": claims.short,
    "paper models": paper.models,
    "paper blackouts": paper.blackouts,
    "paper lengths": paper.lengths,
    "paper places": paper.places,
    "paper lstm": paper.lstm,
    "paper lstm short": partial(paper.lstm, ("end",)),
    "paper ranks": paper.ranks,
    "paper hard": paper.hard,
    "honest": honest.honest,
    "honest short": honest.honest_short,
    "honest types": honest.honest_types,
    "honest functional": honest.honest_functional,
    "honest functional short": partial(honest.honest_functional, ("lookup", "mosaic")),
    "ceiling": honest.ceiling,
    "peers": honest.peers,
    "audit": honest.audit,
    "audit short": partial(
        honest.audit, ("pts/compress-gzip", "pts-hard30/compress-gzip", "adfa", "android", "recordings")
    ),
    **{f"lost {part}": partial(lost.contests, part) for part in lost.PARTS},
    "lost main": lost.main,
    "lost confidence": lost.confidence,
    "lost confidence single": lost.single,
    "lost standing": lost.standing,
    "lost standing short": partial(lost.standing, ("by workload",)),
    "lost speed": lost.speed,
    "lost speed short": partial(lost.speed, lost.SOME_MENDERS),
    "recording": lost.recording,
    "kernel events": kernel.events,
    "kernel events short": kernel.events_short,
    "kernel families short": kernel.families_short,
    "kernel views short": kernel.views_short,
    "kernel fields short": kernel.fields_short,
    "kernel families": kernel.families,
    "kernel families by length": kernel.families_by_length,
    "kernel running": kernel.running,
    "kernel cpu time": kernel.cpu_time,
    "kernel transitions": kernel.transitions,
    "kernel fields": kernel.fields,
    "figures short": corrected.short,
    "plausible": corrected.plausible,
    "few": corrected.few,
    "figures errors": corrected.errors,
    "figures nearest": corrected.nearest,
    "figures coverage": corrected.coverage,
    "figures gaps": corrected.gaps,
    "figures gap errors": corrected.gap_errors,
    "recording machines": machines.recording,
    "kernel corpus": machines.corpus,
    "trust": lost.trust,
    "mosaic": lost.mosaic,
    "mosaic short": partial(lost.mosaic, lost.SOME_JUMPS),
    "parts": lost.parts,
    "parts short": lost.parts_short,
    "choosing": lost.choosing,
    "choosing short": partial(lost.choosing, lost.SOME_CHOICES),
    "backbones": networks.backbones,
    "backbones short": networks.backbones_short,
    "informed windows": informed.windows,
    "informed alone": informed.alone,
    "informed lost": informed.lost,
    "hypotheses": lost.hypotheses,
    "suits": lost.suits,
    "foreign": lost.foreign,
    "index": lost.index,
    "mending": lost.mending,
    "filling": recordings.filling,
    "profiling": recordings.profiling,
    "reading": recordings.reading,
    "scale": recordings.scale,
    "scale short": partial(recordings.scale, "ftrace"),
    "draws": recordings.draws,
    "ctf": recordings.ctf,
    "ctf short": recordings.ctf_short,
    **{f"answers: {name}": partial(answers.listed, pages) for name, pages in answers.sections().items()},
    "study": study.study,
    "study models": partial(figures.table, "table4-models", "paper", slice(1)),
    "study rare": partial(figures.table, "figure7-rare", "paper", slice(1)),
    "study hard": partial(figures.table, "study-hard", "paper"),
    "modules short": partial(figures.table, "modules", "honest"),
    "imputers short": partial(figures.table, "imputers", "honest"),
    "study short": study.study_short,
    "study by rank": study.study_by_rank,
    "ablation": study.ablation,
    "sampling": study.sampling,
    "seeds": seeds.table,
    "library": library.table,
}


#: What a command may end with: done, events were lost, nobody can tell.
ENDS = (0, 3, 4)


def output(commands: str) -> str:
    """Shell commands, each with what it prints on stdout, as a block of the page."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "100"}
    environment["TRACEMEND_LIBRARY"] = os.devnull  # whoever runs this may have recordings of their own
    lines = []
    (ROOT / "out").mkdir(exist_ok=True)  # which the demonstration makes
    for command in commands.split(" ;; "):
        shell = ["bash", "-o", "pipefail", "-c", command]
        run = subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if run.returncode not in ENDS:
            sys.exit(f"{command}: {run.stderr}")
        lines += [f"$ {command}", *run.stdout.splitlines()]
    return "\n" + "".join(f"    {line}".rstrip() + "\n" for line in lines) + "\n"


def remade(text: str, quick: bool = False) -> str:
    def make(match: re.Match[str]) -> str:
        begin, kind, name, old, end = match.groups()
        if kind == "slow output" and quick:
            return begin + old + end
        return begin + (MAKERS[name]() if kind == "results" else output(name)) + end

    return PART.sub(make, text)


def main() -> None:
    check, quick = "--check" in sys.argv, "--quick" in sys.argv
    stale = []
    for path in map(ROOT.joinpath, PAGES):
        old = path.read_text()
        new = remade(old, quick)
        if new != old:
            stale.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new)
    stale += rooms.stale() if check else rooms.write()
    stale += figures.stale() if check else figures.write()
    print("written: " + ", ".join(stale) if stale else "all up to date")
    if stale and check:
        sys.exit(1)


if __name__ == "__main__":
    main()
