"""Recording with LTTng-UST: two sessions at once on one run, one of them with small sub-buffers that lose events."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats import read as read_trace
from tracemend.formats.ctf.folders import METADATA
from tracemend.recording.pairs import Pair, by_times
from tracemend.recording.tracefs import RecordError

#: Sub-buffers of the complete recording, bytes and their number, and how long the daemon may take to begin, seconds.
COMPLETE, COMPLETE_NUMBER, PATIENCE = 4 << 20, 8, 20.0
NUMBER = 4


def available_lttng() -> str:
    """Why LTTng-UST can't record here; empty if it can."""
    for tool in ("lttng", "lttng-sessiond"):
        if shutil.which(tool) is None:
            return f"{tool} isn't installed (lttng-tools)"
    return ""


def _lttng(*words: str) -> None:
    done = subprocess.run(["lttng", "--no-sessiond", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RecordError(f"lttng {words[0]} failed: {complaint[-1] if complaint else 'it gave no reason'}")


@contextlib.contextmanager
def _daemon(folder: Path) -> Iterator[None]:
    """LTTng's session daemon: the one that runs, else one of our own for so long."""

    def answers() -> bool:
        return not subprocess.run(["lttng", "--no-sessiond", "list"], capture_output=True, check=False).returncode

    if answers():
        yield
        return
    with open(folder / "sessiond.log", "wb") as log:
        daemon = subprocess.Popen(["lttng-sessiond", "--no-kernel"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE
        while not answers():
            if daemon.poll() is not None or time.monotonic() > end:
                raise RecordError("lttng-sessiond doesn't begin")
            time.sleep(0.05)
        yield
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)


def record_pair(
    command: Sequence[str],
    *,
    event: str = "*",
    subbuf_kb: int = 4,
    overwrite: bool = False,
    cwd: Path | None = None,
    quiet: bool = False,
    timeout: float | None = None,
) -> tuple[Pair, list[str]]:
    """Record the user-space events of ``command`` in two sessions at once; the one with small sub-buffers loses events.

    event: which ones (LTTng's patterns). The program must have tracepoints of its own: LTTng's wrappers of the C
    library lose events of which neither session has a count, and switch on one by one.
    subbuf_kb: KiB of each of the small session's four sub-buffers a cpu. overwrite: it loses the oldest packets, whose
    events nobody counts, else (discard) the newest events. Returns the pair and the identities that don't hold. Raises
    RecordError where recording isn't possible, and if the complete recording lost events, too.
    """
    reason = available_lttng()
    if reason:
        raise RecordError(reason)
    if not command or shutil.which(command[0]) is None:
        raise RecordError(f"{' '.join(command[:1]) or 'no command'}: no such command")
    with tempfile.TemporaryDirectory(prefix="tracemend-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stack.enter_context(_daemon(folder))
        kept = "--overwrite" if overwrite else "--discard"
        sizes = {
            "all": [f"--subbuf-size={COMPLETE}", f"--num-subbuf={COMPLETE_NUMBER}", "--discard"],
            "few": [f"--subbuf-size={subbuf_kb << 10}", f"--num-subbuf={NUMBER}", kept],
        }
        for label, channel in sizes.items():
            session = f"tracemend-{os.getpid()}-{label}"
            _lttng("create", session, f"--output={folder / label}")
            stack.callback(_destroy, session)
            _lttng("enable-channel", "--userspace", "--session", session, "ch", *channel)
            _lttng("enable-event", "--userspace", event, "--channel", "ch", "--session", session)
            context = ["--type", "vtid", "--type", "vpid", "--type", "procname"]
            _lttng("add-context", "--userspace", "--session", session, "--channel", "ch", *context)
            _lttng("start", session)
        null = subprocess.DEVNULL if quiet else None
        try:
            subprocess.run(command, cwd=cwd, stdin=null, stdout=null, stderr=null, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            pass  # what was recorded until then is as good
        except OSError as e:
            raise RecordError(f"{command[0]}: {e.strerror or e}") from e
        for label in sizes:
            _lttng("stop", f"tracemend-{os.getpid()}-{label}")
        if not any((folder / "all").rglob(METADATA)):  # LTTng makes it when a program with tracepoints registers
            raise RecordError(f"{command[0]} has no LTTng-UST tracepoints: no events were recorded")
        try:
            complete, lossy = (read_trace(folder / label) for label in sizes)
        except TraceError as e:
            raise RecordError(f"what LTTng recorded can't be read: {e.message}") from e
        if complete.gaps:
            raise RecordError(f"the complete recording lost {complete.lost} events: record a shorter run")
        about = {
            "recorder": "tracemend, LTTng-UST",
            "command": list(command),
            "events": event,
            "kernel": os.uname().release,
            "subbuf_kb": subbuf_kb,
            "overwrite": overwrite,
            "lost": lossy.lost,
        }
        lossy, complete = (replace(t, path=None, provenance=about) for t in (lossy, complete))
        pair, faults = by_times(lossy, complete, complete_first=None)
        return pair, faults + ([] if overwrite else _faults(pair, lossy.lost))


def _faults(pair: Pair, counted: int) -> list[str]:
    """The identities that don't hold.

    The counter of a packet has all events that found no room since the packet before it. Most of them were lost behind
    its last event, where the gap is; but when a large event found no room, a small one behind it still may have, so a
    few of those counted lie in front of the gap.
    """
    wrong, ahead = 0, dict.fromkeys((g.cpu for g in pair.lossy.gaps), 0)
    for gap, lost in zip(pair.lossy.gaps, pair.missing, strict=True):
        ahead[gap.cpu] += len(lost)
        if gap.count is not None:
            wrong += gap.count != ahead[gap.cpu]
            ahead[gap.cpu] = 0
    found = [f"{wrong} of {len(pair.missing)} stated counts are wrong"] if wrong else []
    unmarked = sum(ahead.values())
    if unmarked:
        found.append(f"{unmarked} events are missing behind the last count")
    if counted != pair.lost:
        found.append(f"{pair.lost} events are missing, LTTng counted {counted}")
    return found


def _destroy(session: str) -> None:
    subprocess.run(["lttng", "--no-sessiond", "destroy", session], capture_output=True, check=False)
