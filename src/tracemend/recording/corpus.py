"""The project's own corpus: workloads that are recorded, complete or into a small buffer that really loses events."""

from __future__ import annotations

import contextlib
import math
import random
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from tracemend.recording import ftrace, lttng, perf
from tracemend.recording.pairs import Pair
from tracemend.recording.tracefs import RecordError

How = Literal["overwrite", "drop", "perf", "ust_discard", "ust_overwrite", "kernel_overwrite", "kernel_drop"]
#: How the small buffer loses system calls: ftrace its oldest events, ftrace its newest, perf.
HOW: tuple[How, ...] = ("overwrite", "drop", "perf")
#: And a program's own tracepoints: LTTng-UST its newest, its oldest packets.
HOW_UST: tuple[How, ...] = ("ust_discard", "ust_overwrite")
#: And all that a machine does, ftrace its oldest events, its newest.
HOW_KERNEL: tuple[How, ...] = ("kernel_overwrite", "kernel_drop")
#: What the small buffer's KiB a cpu are drawn from (perf's are powers of two; LTTng has at least four pages).
BUFFERS_KB: dict[How, tuple[int, ...]] = {
    "overwrite": (8, 12, 16, 24, 32),
    "drop": (8, 12, 16, 24, 32),
    "perf": (4, 4, 8, 16),
    "ust_discard": (16, 32, 64),
    "ust_overwrite": (16, 32, 64),
    "kernel_overwrite": (8, 8, 16, 32, 64),
    "kernel_drop": (8, 8, 16, 32, 64),
}
#: And the range of its reader's mean pauses, ms; perf reads slowly enough by itself, LTTng's reader can't be slowed.
DELAYS_MS: dict[How, tuple[float, float]] = {
    "overwrite": (0.3, 10.0),
    "drop": (0.3, 10.0),
    "perf": (0.03, 1.0),
    "kernel_overwrite": (0.5, 20.0),
    "kernel_drop": (0.5, 20.0),
}
#: The share of events that should survive. Whoever loses more turns something off; whoever loses less doesn't notice.
SURVIVE = (0.3, 0.95)
#: Seconds that a workload may take.
TIMEOUT = 120.0


@dataclass(frozen=True)
class Workload:
    """Something to record: a shell program, what makes its input, and the Debian packages that it takes.

    files: copied to where it runs. ust: its own tracepoints are recorded, not its system calls.
    """

    name: str
    command: str
    setup: str = ""
    packages: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    ust: bool = False

    @property
    def ways(self) -> tuple[How, ...]:
        """How it can lose events."""
        return HOW_UST if self.ust else HOW

    @contextlib.contextmanager
    def ready(self, run: int) -> Iterator[tuple[list[str], Path]]:
        """What to run, and the folder to run it in, which is there as long. Raises RecordError if the setup fails."""
        with tempfile.TemporaryDirectory(prefix="workload-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            folder.chmod(0o755)  # some servers give up root
            for file in self.files:
                shutil.copy(file, folder)
            if self.setup:
                done = subprocess.run(shell(self.setup, run), cwd=folder, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RecordError(f"{self.name}: its setup failed: {(done.stderr.strip() or 'no reason')[-200:]}")
            yield shell(self.command, run), folder


def shell(program: str, run: int) -> list[str]:
    """The distribution's own programs come first: a wrapper around python3, say, is another workload."""
    return ["/bin/sh", "-c", f"N={run}; export N; PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH; {program}"]


def workloads(path: Path) -> tuple[list[Workload], list[str]]:
    """The workloads of experiments/workloads.toml, and the Debian packages that all of them take."""
    document = tomllib.loads(path.read_text())
    found = [Workload(**w | {"files": [path.parent / f for f in w.get("files", ())]}) for w in document["workload"]]
    return found, sorted({*document["packages"], *(p for w in found for p in w.packages)})


@dataclass(frozen=True)
class Setting:
    """How to lose: buffer_kb KiB a cpu, a reader that pauses delay_ms ms in the mean (exponential, seeded)."""

    how: How
    buffer_kb: int
    delay_ms: float
    seed: int


def draw(how: How, seed: int, ease: int = 0) -> Setting:
    """A setting by chance. ease: how many times the buffer is doubled and the pause halved (negative: the reverse)."""
    rng = random.Random(seed)
    buffer = rng.choice(BUFFERS_KB[how])
    delay = math.exp(rng.uniform(*map(math.log, DELAYS_MS[how]))) if how in DELAYS_MS else 0.0
    least = min(BUFFERS_KB[how])
    return Setting(how, max(least, int(buffer * 2.0**ease)), round(delay * 2.0**-ease, 3), seed)


@dataclass(frozen=True)
class Attempt:
    """A pair that was recorded, and what about it doesn't hold (nothing, if it is to be kept)."""

    setting: Setting
    pair: Pair
    faults: list[str]

    @cached_property
    def survived(self) -> float:
        """The share of events that survived."""
        return len(self.pair.lossy) / max(len(self.pair.complete), 1)

    @property
    def counted(self) -> int:
        """What the tracer itself counted as lost; perf counts other records than events, too, and nobody counts the
        events of packets that LTTng overwrote."""
        return int(self.pair.lossy.provenance["lost"])

    def as_dict(self) -> dict[str, Any]:
        """One line of the log."""
        return {**asdict(self.setting), "survived": round(self.survived, 4), "faults": self.faults}


def attempt(command: list[str], folder: Path, setting: Setting, *, timeout: float = TIMEOUT) -> Attempt:
    """Record a pair in the way that is set. Raises RecordError where nothing can be recorded, or all of it was lost."""
    s = setting
    if s.how == "perf":
        pair, _, faults = perf.record_pair(
            command, pages=s.buffer_kb // 4, delay_ms=s.delay_ms, seed=s.seed, cwd=folder, quiet=True, timeout=timeout
        )
    elif s.how in HOW_UST:
        pair, faults = lttng.record_pair(
            command,
            subbuf_kb=s.buffer_kb // lttng.NUMBER,
            overwrite=s.how == "ust_overwrite",
            cwd=folder,
            quiet=True,
            timeout=timeout,
        )
    else:
        pair, _, faults = ftrace.record_pair(
            command,
            ftrace.SmallBuffer(s.buffer_kb, s.delay_ms, s.how.endswith("overwrite"), s.seed),
            events="kernel" if s.how in HOW_KERNEL else "raw",
            cwd=folder,
            quiet=True,
            timeout=timeout,
        )
    if len(pair.complete) and pair.complete.time_ns[-1] - pair.complete.time_ns[0] > timeout * 1e9:
        faults = [*faults, f"cut off after {timeout:g} s"]
    return Attempt(setting, pair, faults)


def attempts(workload: Workload, run: int, how: How, seed: int, most: int = 8) -> Iterator[Attempt | str]:
    """Record until a pair is without faults and as many events survive as should; what failed is told as text.

    Each attempt draws a setting anew, around an easier one if too much was lost, a harder one if too little.
    """
    ease = 0
    for number in range(most):
        setting = draw(how, seed + number, ease)
        try:
            with workload.ready(run) as (command, folder):
                made = attempt(command, folder, setting)
        except RecordError as e:
            yield str(e)
            continue
        yield made
        if made.survived < SURVIVE[0]:
            ease += 1
        elif made.survived > SURVIVE[1]:
            ease -= 1
        elif not made.faults:
            return
