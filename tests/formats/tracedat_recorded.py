"""Recordings by ``trace-cmd record`` that leave nothing behind, for the tests and for the benchmark."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRACEFS = Path("/sys/kernel/tracing")


def can_record() -> str:
    if os.geteuid() != 0 or not os.access(TRACEFS / "instances", os.W_OK):
        return "recording takes root and tracefs"
    missing = [tool for tool in ("trace-cmd", "unshare", "mount") if shutil.which(tool) is None]
    return f"{missing[0]} is not installed" if missing else ""


# trace-cmd wants to reset the function tracer before it records anything, which kernels without one, or locked down,
# refuse: in a mount namespace of its own it writes into nothing. It takes only instances with names of ours.
ISOLATED = """
none=$1; shift
mount --bind $none /proc/sys/kernel/ftrace_enabled
for f in /sys/kernel/tracing/set_ftrace* /sys/kernel/tracing/set_graph* /sys/kernel/tracing/instances/$1*/set_ftrace*
do [ ! -e $f ] || mount --bind $none $f; done
shift; exec "$@"
"""
#: Many calls of several threads at once, short-lived ones among them.
WORK = "ls -R /usr/share/doc | sort | tail -1; for i in 1 2 3 4 5 6 7 8; do /bin/true; done"


def remove(instance: Path) -> None:
    for _ in range(100):
        try:
            instance.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)


@contextmanager
def instances(number: int) -> Iterator[list[str]]:
    """Names of instances that exist and are gone in the end, whatever trace-cmd did with them."""
    names = [f"tracemend-test{os.getpid()}-{k}" for k in range(number)]
    for name in names:
        (TRACEFS / "instances" / name).mkdir()
    try:
        yield names
    finally:
        for name in names:
            remove(TRACEFS / "instances" / name)


def record(path: Path, *arguments: str, work: str = WORK) -> None:
    """``trace-cmd record`` with these arguments."""
    none = path.with_suffix(".none")
    none.write_text("")
    command = ["trace-cmd", "record", "-d", "-q", "-o", str(path), *arguments, "sh", "-c", work]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", ISOLATED, "sh", str(none), f"tracemend-test{os.getpid()}-", *command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=path.parent,
    )
    assert done.returncode == 0, done.stderr
