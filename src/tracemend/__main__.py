"""``tracemend`` and ``python -m tracemend``: the command line, whatever it is started with."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

#: The descriptors that a process has from the beginning, and how each is used.
STREAMS = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def main() -> None:
    """Run the command line. An interrupt ends it without a traceback, also while it is still being loaded."""
    open_streams()
    sys.unraisablehook = interrupted_again
    # Arrow's own allocator keeps what it once had: a fifth of a worker's memory. Workers inherit this.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    gc.set_threshold(100_000)  # of what is made while loading nothing is garbage, and looking for some takes a tenth
    try:
        from tracemend.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("tracemend: stopped\n")
        sys.exit(130)


def interrupted_again(lost: UnraisableHookArgs) -> None:
    """What Python can't raise where it came up, in a finalizer or a weak reference's callback: it would tell of it and
    go on. An interrupt is sent once more instead, a moment later, when it can be raised."""
    if lost.exc_type is KeyboardInterrupt:
        import threading

        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


def open_streams() -> None:
    """Give back what was closed, so that no file that is opened later takes its descriptor and is written to by
    mistake; and have characters that a stream can't say spelt out."""
    for number, (name, mode) in enumerate(STREAMS):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, open(number, mode, encoding="utf-8"))  # noqa: SIM115 (as long as the process lives)
        elif mode == "w":
            getattr(sys, name).reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
