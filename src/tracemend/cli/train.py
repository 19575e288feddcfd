"""train: a network from traces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from tracemend.cli.arguments import SPLIT, ArchOption, QuietOption, SplitOption, read_trace, spare_pandas
from tracemend.cli.terminal import progress, say, tell
from tracemend.errors import OutputError, TracemendError, extra


def train(
    traces: Annotated[
        list[Path] | None,
        typer.Argument(help="Traces to learn from. What lies between their gaps is used.", metavar="TRACES..."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for the model and for the state of the training.")
    ] = Path("run"),
    recipe: Annotated[
        str | None, typer.Option(help="What to train (see: tracemend recipes). If not given: masked-transformer.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="How many steps to train. If not given: what the recipe says.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Decides whatever is left to chance. If not given: 0.")
    ] = None,
    validate: Annotated[
        list[Path] | None,
        typer.Option("--validate", help="A trace to measure progress on. May be given several times."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="A folder of recordings (corpus/) to learn from instead of TRACES.")
    ] = None,
    split: SplitOption = SPLIT,
    every: Annotated[int, typer.Option(min=1, help="Measure and save after this many steps, each time.")] = 250,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the network first (needs a C++ compiler).")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the training in the output folder, with its recipe, seed and steps."),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where to train: auto, cpu, cuda, or one of several GPUs (cuda:1).")
    ] = "auto",
    arch: ArchOption = "x86_64",
    quiet: QuietOption = False,
) -> None:
    """Train a network on traces. It can be stopped and taken up again; under torchrun processes share the work."""
    with progress("preparing", quiet):  # much is loaded, and the traces are read
        spare_pandas()
        from tracemend.diffusion.recipes import recipe as find

        with extra("diffusion"):
            from tracemend.diffusion.restorer import Restorer
            from tracemend.diffusion.training import Training, join, keep_memory
        from tracemend.trace.vocabulary import Vocabulary, by_frequency, universal
        from tracemend.trace.windows import streams

        chosen = find(recipe or "masked-transformer")
        device, first = join(device)
        if first and output.exists() and not resume:
            raise OutputError(f"{output}: exists already; --resume takes up the run in it")
        if bool(traces) == bool(corpus):
            raise typer.BadParameter("name traces or a --corpus, not both", param_hint="TRACES")
        if corpus:
            from tracemend.datasets import corpus as recordings

            learn, held_out = recordings(corpus, "train", split), recordings(corpus, "validation", split)
        else:
            learn = [read_trace(p, None, arch, False, quiet=True) for p in traces or []]
            held_out = [read_trace(p, None, arch, False, quiet=True) for p in validate or []]
        if resume:
            vocabulary = Vocabulary.load(output / "vocabulary.json")
        else:
            vocabulary = universal() if chosen.vocabulary == "universal" else by_frequency(learn)
        data = [s for t in learn for s in streams(t, vocabulary)]
        check = [s for t in held_out for s in streams(t, vocabulary)]
        if not data:
            raise TracemendError("no intact stretch of 32 events or more to train on")
        keep_memory()
        run = (
            Training.resume(output, vocabulary, device=device)
            if resume
            else Training(chosen, vocabulary, total=steps, seed=seed or 0, device=device)
        )
        for name, asked, has in (
            ("recipe", recipe, run.recipe.name),
            ("steps", steps, run.total),
            ("seed", seed, run.seed),
        ):
            if asked not in {None, has}:
                raise TracemendError(f"{output}: the run to take up has --{name} {has}, not {asked}")
    if compile:
        run.network.compile(dynamic=False)
    if not first:
        for _ in run.steps(data, check, every=every):
            pass
        return
    output.mkdir(parents=True, exist_ok=True)
    vocabulary.save(output / "vocabulary.json")
    parameters = sum(p.numel() for p in run.network.parameters())
    tell(f"{run.recipe.name}: {parameters:,} parameters, {sum(map(len, data)):,} events to learn from")
    with open(output / "log.jsonl", "a") as log, progress("training", quiet) as update:
        loss = 0.0
        for step in run.steps(data, check, every=every):
            loss = step.loss if not loss else 0.98 * loss + 0.02 * step.loss
            update(step.number, run.total, f"loss {loss:.3f}")
            if step.number % every == 0 or step.number == run.total:
                row: dict[str, Any] = {"step": step.number, "loss": round(loss, 4), "rate": step.rate}
                row |= {"accuracy": step.validation, "validation_loss": step.validation_loss}
                log.write(json.dumps(row) + "\n")
                log.flush()
                run.save(output)
    Restorer(run.recipe, vocabulary, run.averaged()).save(output)
    say(str(output))
