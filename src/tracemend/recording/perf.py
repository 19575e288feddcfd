"""Recording with perf: two ``perf record`` at once on one run, one of them with a small buffer that loses events."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats import read as read_trace
from tracemend.formats.perfdata import tool
from tracemend.recording.pairs import Pair, by_times
from tracemend.recording.tracefs import RecordError, available, held

EVENTS = "raw_syscalls:sys_enter,raw_syscalls:sys_exit"
#: Buffer of the complete recording, pages of 4 KiB a cpu, and how long perf may take to begin and to end, seconds.
COMPLETE_PAGES, PATIENCE = 8192, 60.0
#: Between two stops of the small buffer's reader it may read for so long, seconds.
READS_FOR = 0.0005


class _Perf:
    """A ``perf record`` that waits to be switched on."""

    def __init__(self, pid: int, pages: int, data: Path) -> None:
        self.data, self.complaints = data, data.with_suffix(".err")
        control, answer = data.with_suffix(".control"), data.with_suffix(".answer")
        os.mkfifo(control)
        os.mkfifo(answer)
        # opened for both ways, so that neither end waits for the other
        self._control, self._answer = (os.open(p, os.O_RDWR | os.O_CLOEXEC) for p in (control, answer))
        command = ["perf", "record", "-q", "-D", "-1", f"--control=fifo:{control},{answer}", "-k", "mono", "-e", EVENTS]
        with open(self.complaints, "wb") as err:
            self.process = subprocess.Popen(
                [*command, "-p", str(pid), "-m", str(pages), "-o", str(data)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                start_new_session=True,
            )

    def on(self) -> None:
        """Begin to record; returns once it does. Raises RecordError if it won't."""
        os.write(self._control, b"enable\n")
        end = time.monotonic() + PATIENCE
        while not select.select([self._answer], [], [], 0.05)[0]:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RecordError(f"perf record doesn't begin: {self._complaint()}")
        os.read(self._answer, 64)

    def end(self) -> None:
        """Stop, and bring the rest to disk. Raises RecordError for a perf that failed."""
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGINT)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise RecordError("perf record doesn't end") from None
        if status not in (0, -signal.SIGINT, 128 + signal.SIGINT):
            raise RecordError(f"perf record failed ({status}): {self._complaint()}")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._control)
        os.close(self._answer)

    def _complaint(self) -> str:
        lines = self.complaints.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it gave no reason"

    def counts(self) -> tuple[int, int]:
        """The records that perf itself counted as lost, and those of no event (mappings, names, forks, exits) that it
        holds: perf counts records of all kinds."""
        run = subprocess.run(
            ["perf", "report", "--stats", "-i", str(self.data)], capture_output=True, text=True, check=False
        )
        whole, *by_event = re.split(r"^\S.* stats:$", run.stdout, flags=re.M)[1:]
        lost = sum(int(n) for text in by_event for n in re.findall(r"LOST_SAMPLES events:\s+(\d+)", text))
        return lost, sum(map(int, re.findall(r"(?:MMAP2?|COMM|FORK|EXIT) events:\s+(\d+)", whole)))


def available_perf() -> str:
    """Why perf can't record here; empty if it can."""
    return "perf isn't installed (linux-perf)" if shutil.which("perf") is None else available()


def record_pair(
    command: Sequence[str],
    *,
    pages: int = 1,
    delay_ms: float = 0.0,
    seed: int = 0,
    cwd: Path | None = None,
    quiet: bool = False,
    timeout: float | None = None,
) -> tuple[Pair, str, list[str]]:
    """Record ``command`` by two perfs at once; the one with the small buffer really loses events.

    pages: 4-KiB pages a cpu of the small buffer, a power of two. delay_ms: mean time for which its reader is stopped
    again and again (exponential, seeded); 0: never. Returns the pair, the lossy recording's text, and the identities
    that don't hold. Raises RecordError where recording isn't possible, and if the complete recording lost events, too.
    """
    reason = available_perf()
    if reason:
        raise RecordError(reason)
    with tempfile.TemporaryDirectory(prefix="tracemend-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        process, go = stack.enter_context(held(command, cwd=cwd, quiet=quiet))
        perfs = []
        for label, size in (("all", COMPLETE_PAGES), ("few", pages)):
            perfs.append(_Perf(process.pid, size, folder / f"{label}.data"))
            stack.callback(perfs[-1].close)
        for perf in perfs:
            perf.on()
        with _stopped_now_and_then(perfs[1].process, delay_ms, seed):
            go()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
        for perf in perfs:
            perf.end()
        try:
            complete = read_trace(perfs[0].data)
            lossy = read_trace(perfs[1].data)
            text, _ = tool.print_text(perfs[1].data, folder)
        except TraceError as e:
            raise RecordError(f"what perf recorded can't be read: {e.message}") from e
        (overrun, others), (counted, others_left) = (perf.counts() for perf in perfs)
        if complete.gaps or overrun:
            raise RecordError(
                f"the complete recording lost {max(overrun, complete.lost)} records: record a shorter run"
            )
        about = {
            "recorder": "tracemend, perf",
            "command": list(command),
            "events": "raw",
            "kernel": os.uname().release,
            "pages": pages,
            "delay_ms": delay_ms,
            "seed": seed,
            "lost": counted,
        }
        lossy, complete = (replace(t, path=None, provenance=about) for t in (lossy, complete))
        # which of the two hears of an event first is the kernel's choice, and other in children than in their parents
        pair, unmatched = by_times(lossy, complete, complete_first=None)
        return pair, text.read_text(errors="replace"), unmatched + _faults(pair, counted, others - others_left)


def _faults(pair: Pair, counted: int, others: int) -> list[str]:
    """The identities that don't hold. others: lost records of no event, which the counts include."""
    beyond = [g.count - len(m) for g, m in zip(pair.lossy.gaps, pair.missing, strict=True) if g.count is not None]
    found = []
    if beyond and (min(beyond) < 0 or sum(beyond) > others):
        found.append(f"stated counts are off by {min(beyond)} to {max(beyond)}, with {others} lost records of no event")
    if counted != pair.lost + others:
        found.append(f"{pair.lost} events and {others} other records are missing, perf counted {counted}")
    return found


@contextlib.contextmanager
def _stopped_now_and_then(process: subprocess.Popen[bytes], delay_ms: float, seed: int) -> Iterator[None]:
    done = threading.Event()

    def stop_and_go() -> None:
        rng = random.Random(seed)
        while not done.is_set() and process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            time.sleep(rng.expovariate(1 / delay_ms) / 1000)
            process.send_signal(signal.SIGCONT)
            time.sleep(READS_FOR)

    thread = threading.Thread(target=stop_and_go)
    if delay_ms:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if delay_ms:
            thread.join()
