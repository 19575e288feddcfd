"""The library's front door: mend, count, judge, train, load. ``import tracemend`` shows these names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracemend import library as own
from tracemend.diffusion import DEFAULT_MODEL
from tracemend.errors import ModelError, OptionError, extra, number
from tracemend.formats import held, in_pieces
from tracemend.menders.base import Mender
from tracemend.menders.examples import Example, packaged
from tracemend.mending import mended as mending
from tracemend.mending.options import DEFAULTS, Changes, Options
from tracemend.mending.parts import How
from tracemend.mending.run import COPIERS, MOSAIC
from tracemend.reckoning.counting import Count
from tracemend.reckoning.figures import Figures
from tracemend.reckoning.fills import OverFills, evaluated
from tracemend.reckoning.intervals import DRAWS
from tracemend.reckoning.whole import asked, reckon, reckoned
from tracemend.trace.events import Trace
from tracemend.trace.pieces import Piece
from tracemend.trace.vocabulary import Vocabulary, by_frequency, universal
from tracemend.trace.windows import streams

if TYPE_CHECKING:
    from tracemend.diffusion.restorer import Restorer
    from tracemend.diffusion.training import Step
    from tracemend.judging.evaluation import Evaluation

#: Traces, or the paths of some.
Several = Iterable[Trace | str | Path] | Trace | str | Path


class Mended(mending.Mended):
    """A mended trace, which can also be written, counted and looked into."""

    def write(self, folder: str | Path, outputs: Sequence[str] | None = None, *, force: bool = False) -> list[Path]:
        """Write it into a folder, as ``tracemend mend`` does, and return the paths of the files.

        outputs: names, of "overlay", "report", "merged" and "perfetto"; the first two if not given; the overlay always.
        Where hypotheses were drawn, figures are written, too. The folder appears whole or not at all. One that exists
        is replaced only with ``force``, and only if tracemend wrote it.
        Raises OutputError for a folder that can't be written, OptionError for an unknown output.

        >>> mended = mend("tests/data/ftrace_pipe.txt")
        >>> [path.name for path in mended.write(folder / "out", outputs=["overlay", "merged"])]
        ['overlay.jsonl', 'overlay.parquet', 'merged.txt']
        """
        from tracemend.outputs import DEFAULT, write

        chosen = [outputs] if isinstance(outputs, str) else DEFAULT if outputs is None else outputs
        made = reckoned(self, self.draws).every() if self.draws > 1 and self.filled else []
        return write(self, Path(folder), chosen, force, made=made)

    @property
    def draws(self) -> int:
        """So many hypotheses were asked for."""
        drawn: int = self.provenance["options"].get("hypotheses", 0)
        return drawn

    def figures(self, by: str = "call", *, span: tuple[int, int] | None = None) -> Figures:
        """The figures of the fills that were drawn when it was mended; see ``tracemend.figures``.

        It takes ``mend(trace, hypotheses=16)``: a range needs draws. Raises OptionError where there are fewer than two.
        """
        if self.filled and self.draws < 2:
            raise OptionError("figures need draws of the fills: mend(trace, hypotheses=16)")
        return reckoned(self, self.draws, asked(by, span)).figures(by)

    def around(self, gap: int, events: int = 3) -> pa.Table:
        """A gap's inferred events between so many that survived on each side of it on the same cpu.

        An Arrow table in order of time with the columns cpu, time_ns, tid, comm, name, phase, inferred (true or false)
        and confidence (null for what survived). Raises OptionError for a gap that there isn't.

        >>> seen = mend("recordings/shell/lossy.txt").around(3, events=1)
        >>> seen["name"].to_pylist()[:3], seen["inferred"].to_pylist()[:3]
        (['mmap', 'close', 'close'], [False, True, True])
        """
        found = next((g for g in self.trace.gaps if g.number == gap), None)
        if found is None:
            raise OptionError(f"there is no gap {gap!r}; there are {len(self.trace.gaps):,}, from 0 on")
        rows = self.trace.streams.get(found.cpu, np.empty(0, np.int64))
        at = len(rows) if found.after is None else int(np.searchsorted(rows, found.after))
        columns = ["cpu", "time_ns", "tid", "comm", "name", "phase"]
        fill = self.inferred.filter(pc.equal(self.inferred["gap"], gap)).select([*columns, "confidence"])
        beside = rows[max(0, at - events) : at], rows[at : at + events]
        before, after = (self.trace.table.select(columns).take(pa.array(side)) for side in beside)
        parts = [before, fill, after]
        flags = np.repeat([False, True, False], [part.num_rows for part in parts])
        joined = pa.concat_tables(parts, promote_options="default").unify_dictionaries()
        return joined.add_column(len(columns), "inferred", pa.array(flags))


def load(path: str | Path = DEFAULT_MODEL) -> Restorer:
    """A trained model from its folder, or the one shipped with the package. Raises ModelError, or MissingError where
    PyTorch isn't installed.

    >>> load("default").longest  # lost events that it takes at once
    1000
    """
    with extra("diffusion"):
        from tracemend.diffusion import restorer
    return restorer.load(path)


def mend(
    trace: Trace | str | Path,
    model: Mender | str | Path = MOSAIC,
    options: Options = DEFAULTS,
    *,
    examples: Several = (),
    alone: bool = False,
    library: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **changes: Unpack[Changes],
) -> Mended:
    """Fill the gaps of a trace, or of the one that lies at a path; the trace itself stays as it is.

    model: "mosaic" or "lookup", which copy from the trace's intact part and from examples, or "mixture" of both; a
    folder or a loaded model, used together with the mosaic ("default" is the one that ships with the package); or any
    other Mender, used alone.
    options: see ``Options``; its fields may also be given as keywords: ``mend(trace, seed=1, refuse=0.5)``.
    examples: complete traces (or their paths) to copy from, besides the recordings that ship with the package and the
    intact part of the trace itself. library: also copy from those of the user's library (``tracemend.library``) that
    the trace is like. alone: from nothing that is shipped, and from no library.
    progress: called with the events proposed for so far, and all of them.
    Raises TraceError for a path that can't be read, ModelError for a model that can't be loaded or has no hypotheses,
    OptionError for an option with a value that it can't have (both are ValueErrors); TypeError for what is neither a
    trace nor a path; MissingError for a network where PyTorch isn't installed.

    >>> mended = mend("recordings/shell/lossy.txt", refuse=0.4)
    >>> mended.counts["filled"], mended.counts["refused"]
    (10, 7)
    >>> mended.inferred.column_names[:4]
    ['gap', 'cpu', 'time_ns', 'tid']
    """
    if wrong := changes.keys() - Changes.__annotations__.keys():
        raise TypeError(f"no option {min(wrong)!r}; one of {', '.join(Changes.__annotations__)}")
    way = how(model, replace(options, **changes), examples=examples, alone=alone, library=library)
    read = held(trace)
    if missing := (way.options.only or frozenset()) - {g.number for g in read.gaps}:
        raise OptionError(f"there is no gap {min(missing)}; there are {len(read.gaps):,}, from 0 on")
    made = way.mend(Piece.whole(read), progress)
    return Mended(**{f.name: getattr(made, f.name) for f in fields(made)})


def how(
    model: Mender | str | Path = MOSAIC,
    options: Options = DEFAULTS,
    *,
    examples: Several = (),
    alone: bool = False,
    library: bool = True,
) -> How:
    """How ``tracemend.mending.pieces.mend_pieces`` is to mend a trace that comes in pieces; all as for ``mend``.

    What of the library can't be used is told as a warning. Raises ModelError and MissingError as ``mend`` does.
    """
    chosen: Callable[[], Mender | None] = _copier_alone
    if not isinstance(model, str | Path):
        if not hasattr(model, "propose"):
            raise ModelError(f"the model must be {_MODELS}, or a mender, not {model!r}")
        chosen = partial(_same, model)
    elif str(model) not in COPIERS:
        trained(model)  # tells now what can't be loaded
        chosen = partial(_loaded, model)
    copier = COPIERS.get(str(model), COPIERS[MOSAIC])
    theirs = _library() if library and not alone else ()
    shipped = _nothing if alone else partial(packaged, options.more_examples)
    return How(chosen, shipped, copier, options, tuple(_several(examples)), theirs)


def figures(
    trace: Trace | Mended | str | Path,
    by: str = "call",
    draws: int = DRAWS,
    *,
    span: tuple[int, int] | None = None,
    seed: int = 0,
    examples: Several = (),
    alone: bool = False,
) -> Figures:
    """The figures that people make from a trace, as far as they can be told after a loss: calls, time in calls, cpu
    time, errors, events; each as it was observed, as it probably was, and between what in nine of ten cases.

    by: "call", "thread", "process" (where the trace says which threads are one), "cpu" or "time" (in slices).
    draws: so many whole fills of all gaps are drawn. span: of this time alone, from and to in ns, both included.
    seed, examples, alone: as for ``mend``.
    A large trace is gone through in pieces. A trace without losses isn't mended, and all of its figures are exact.
    trace: also what ``mend`` gave, and then the draws that it has are counted. Or a folder that ``tracemend mend``
    wrote; then the figures are those that lie in it, by call, thread or process. In both nothing is mended again.
    Raises TraceError for a path that can't be read, OptionError for what figures can't be by or a span that is none,
    OutputError for a folder without such figures, TypeError for what is neither a trace nor a path.

    >>> made = figures("recordings/shell/lossy.txt")
    >>> made.of("calls").select(["key", "observed", "estimate", "low", "high"]).to_pylist()[0]
    {'key': 'openat', 'observed': 832, 'estimate': 1222, 'low': 1053, 'high': 1408}
    """
    count = Count(asked(by, span), _drawing(draws))
    if isinstance(trace, Mended):
        return trace.figures(by, span=span)
    if isinstance(trace, str | Path) and (Path(trace) / "overlay.jsonl").is_file():
        return _as_written(Path(trace), by, span)
    way = how(MOSAIC, Options(seed), examples=examples, alone=alone)
    with TemporaryDirectory(prefix="tracemend-") as folder:
        return reckon(in_pieces(trace), way, count, lambda: Path(folder)).figures(by)


def _as_written(folder: Path, by: str, span: tuple[int, int] | None) -> Figures:
    """The figures that lie in an output folder."""
    from tracemend.outputs.figures import read

    if span is not None:
        raise OptionError("the figures of a mended folder are of the whole trace; ask for those of the trace itself")
    return read(folder, by)


def over_fills(
    trace: Trace | str | Path,
    figure: Callable[[Trace], Any],
    draws: int = DRAWS,
    *,
    seed: int = 0,
    examples: Several = (),
    alone: bool = False,
) -> OverFills:
    """A figure of one's own after a loss: ``figure`` is a function of a trace that gives a number, an array of them, or
    a dictionary of numbers; it is called with the trace, and with each of so many draws of what may have happened.

    A draw is a trace with the inferred events in their places: its table has a further column, ``inferred``, and its
    provenance says which draw it is. It can't be written as a recording. Raises as ``mend`` does, and what ``figure``
    raises.

    >>> opened = lambda trace: trace.table["name"].to_pylist().count("openat")
    >>> found = over_fills("tests/data/ftrace_pipe.txt", opened, draws=4)
    >>> found.observed, found.low <= found.estimate <= found.high
    (78, True)
    """
    mended = mend(trace, options=Options(seed, hypotheses=_drawing(draws)), examples=examples, alone=alone)
    return evaluated(mended, figure)


def evaluate(
    lossy: Trace | Mended | str | Path,
    complete: Trace | str | Path | None = None,
    model: str | Path = MOSAIC,
    *,
    held_out: Several = (),
    seed: int = 0,
    jobs: int = 1,
) -> Evaluation:
    """Judge fills by the complete recording of the same run.

    lossy: a trace or the path of one, which every mender fills; or what ``mend`` gave, and then that is judged.
    complete: a trace or the path of one; not needed for a folder that ``tracemend record --pair`` wrote.
    model: with "mosaic" no network takes part; else as for ``mend``. held_out: other runs' traces, by which to judge
    how likely each fill is. seed: of the fills. jobs: how many menders to try at once, each in a process of its own.
    Raises TraceError for a path that can't be read, TypeError for what is neither a trace nor a path, RecordError for
    two traces that aren't of one run, OptionError for jobs that can't be, ModelError for a model that can't be or isn't
    tried.

    >>> mended = mend("recordings/shell/lossy.txt")
    >>> found = evaluate(mended, "recordings/shell/complete.txt.xz")
    >>> found.gaps, found.lost, 0 < found.overall[0]["accuracy"] < 1
    (17, 3957, True)
    """
    from tracemend.judging.evaluate import part_for
    from tracemend.judging.evaluation import evaluation
    from tracemend.recording import align, pairs

    part_for(str(model))  # tells of what isn't tried
    number("jobs", jobs, 1, whole=True)
    number("seed", seed, whole=True)
    network = None if str(model) in COPIERS else trained(model)
    mended = lossy if isinstance(lossy, Mended) else None
    trace = lossy.trace if isinstance(lossy, Mended) else lossy
    if complete is not None:
        pair = align(held(trace), held(complete))
    elif isinstance(trace, str | Path):
        path = Path(trace)
        pair = pairs.read(path / "complete.parquet" if path.is_dir() else path)
    else:
        raise TypeError("the complete recording is missing: evaluate(lossy, complete)")
    return evaluation(pair, mended, others=_several(held_out), seed=seed, jobs=jobs, network=network)


def _drawing(draws: int) -> int:
    """Raises OptionError for fewer draws than a range takes."""
    number("draws", draws, 2, whole=True)
    return draws


#: What a model can be.
_MODELS = f"one of {', '.join([*COPIERS, DEFAULT_MODEL])}, or a folder made by tracemend train"


def _several(traces: Several) -> list[Trace]:
    """All of them, read."""
    return [held(traces)] if isinstance(traces, Trace | str | Path) else [held(t) for t in traces]


def trained(model: str | Path) -> Restorer:
    """The one that a model takes. Raises ModelError for what is no model, naming what there is."""
    if str(model) != DEFAULT_MODEL and not Path(model).is_dir():
        raise ModelError(f"unknown model {str(model)!r}; it must be {_MODELS}")
    return _loaded(model)


@cache
def _loaded(model: str | Path) -> Restorer:
    """Loaded once a process."""
    return load(model)


def _same(mender: Mender) -> Mender:
    return mender


def _copier_alone() -> None:
    """No model."""


def _nothing() -> Sequence[Example]:
    return ()


def _library() -> tuple[Example, ...]:
    """The user's own examples; warns of what can't be used."""
    found = own.read()
    for fault in found.passed_over:
        warnings.warn(fault, stacklevel=4)
    return found.examples


def train(
    traces: Several,
    *,
    recipe_name: str = "masked-transformer",
    vocabulary: Vocabulary | None = None,
    steps: int | None = None,
    seed: int = 0,
    held_out: Several = (),
    log: Callable[[Step], Any] = lambda step: None,
) -> Restorer:
    """Train a model on complete traces (or the intact parts of lossy ones). ``log`` is called after every step.

    recipe_name: see ``tracemend recipes``. steps: iterations, the recipe's own if not given. A GPU is used if there is
    one. For a run that is saved and taken up again use ``tracemend.diffusion.training.Training``, or the command
    ``tracemend train``.
    Raises OptionError for a recipe that there isn't, ModelError where there is too little to train on, MissingError
    where PyTorch isn't installed.

    >>> train([read("recordings/shell/lossy.txt")], recipe_name="masked-transformer-tiny", steps=2).name
    'masked-transformer-tiny'
    """
    if steps is not None:
        number("steps", steps, 1, whole=True)
    with extra("diffusion"):
        from tracemend.diffusion import recipes, training
        from tracemend.diffusion.restorer import Restorer

    known, made = _several(traces), recipes.recipe(recipe_name)
    chosen = vocabulary or (universal() if made.vocabulary == "universal" else by_frequency(known))
    data = [s for t in known for s in streams(t, chosen)]
    if not data:
        raise ModelError("no intact stretch of 32 events or more to train on")
    run = training.Training(made, chosen, total=steps, seed=seed)
    for step in run.steps(data, [s for t in _several(held_out) for s in streams(t, chosen)]):
        log(step)
    return Restorer(run.recipe, chosen, run.averaged())
