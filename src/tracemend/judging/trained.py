"""The models of an experiment: trained once, kept in a folder, taken up again where a training was cut off."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from pathlib import Path

from tracemend.datasets import Data
from tracemend.diffusion.recipes import Recipe
from tracemend.diffusion.restorer import Restorer
from tracemend.diffusion.training import Training, keep_memory
from tracemend.errors import OutputError
from tracemend.judging.provenance import provenance
from tracemend.judging.results import Row
from tracemend.untrusted import json_of


def trained(chosen: Recipe, data: Data, seed: int, models: Path) -> tuple[Restorer, Row]:
    """The model of a recipe on a data set, and what is to be said of its training; trained if nobody has yet.

    A training that was cut off is taken up again: its state is saved five times. ``trained``: the commit that it was
    begun at, whatever the rest of a row comes from. Raises OutputError for a folder that can't be written.
    """
    identity = [chosen.as_dict(), data.name, data.vocabulary.digest, seed]
    folder = models / hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / "lock", "wb") as lock:  # another process may be at the very same model
            fcntl.flock(lock, fcntl.LOCK_EX)
            about = _trained(chosen, data, seed, folder)
    except OSError as e:
        raise OutputError(f"{folder}: can't be written: {e.strerror or e}") from e
    return Restorer.load(folder), about


def _trained(chosen: Recipe, data: Data, seed: int, folder: Path) -> Row:
    file = folder / "training.json"
    about = _read_training(file)
    if "parameters" in about and (folder / "weights.safetensors").exists():
        return about
    keep_memory()
    resumed = (folder / "state.safetensors").exists() and about["validation"]
    state = Training.resume(folder, data.vocabulary) if resumed else Training(chosen, data.vocabulary, seed=seed)
    before, begin = about["train_s"], time.process_time()
    every = max(1, chosen.iterations // 5)
    for step in state.steps(data.train, data.validation, every=every):
        if step.number % every == 0 or step.number == chosen.iterations:
            about["train_s"] = round(before + time.process_time() - begin, 1)
            measured = [step.number, step.validation_loss, step.validation]
            about["validation"] = [v for v in about["validation"] if v[0] < step.number] + [measured]
            state.save(folder)
            _write(file, about)
    Restorer(chosen, data.vocabulary, state.averaged()).save(folder)
    about["train_s"] = round(before + time.process_time() - begin, 1)
    about |= {
        "iterations": chosen.iterations,
        "parameters": sum(p.numel() for p in state.network.parameters()),
        "device": str(state.device),
    }
    _write(file, about)
    (folder / "state.safetensors").unlink(missing_ok=True)
    return about


def _read_training(file: Path) -> Row:
    """What is known of a training so far; of one not yet begun, if there is nothing that can be read."""
    begun: Row = {"train_s": 0.0, "validation": [], "trained": provenance()["commit"]}
    try:
        about: Row = json_of(file.read_text())
    except (FileNotFoundError, ValueError):
        return begun
    return about if isinstance(about, dict) and begun.keys() <= about.keys() else begun


def _write(path: Path, document: Row) -> None:
    path.with_suffix(".tmp").write_text(json.dumps(document))
    path.with_suffix(".tmp").replace(path)
