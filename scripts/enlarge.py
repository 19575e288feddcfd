"""A large trace out of a small one: a recording of ftrace text, repeated with its times moved on.

    python scripts/enlarge.py recordings/deploy/lossy.txt large.txt --bytes 1e9

What it makes is no recording: it serves to measure time and memory, and stays out of the repository.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

#: An event's time: seconds and decimals behind the cpu and the flags, in front of a colon.
TIME = re.compile(rb"(?m)^(?!CPU:).{16}-\d+ +(?:\([ \d-]+\) +)?\[\d+\] \S+ +(\d+)\.(\d{6}): ")


def enlarge(source: Path, out: Path, size: int) -> int:
    """Write the text again and again until it has ``size`` bytes, each time a second or more later; returns how often.

    Raises ValueError for a text without events' times, or whose seconds would get another digit.
    """
    text = source.read_bytes()
    text = text[: text.rindex(b"\n") + 1]
    found = list(TIME.finditer(text))
    if not found:
        raise ValueError(f"{source}: no events of ftrace with times")
    width = len(found[0][1])
    if any(len(m[1]) != width for m in found):
        raise ValueError(f"{source}: its times are of several widths")
    at = np.array([m.start(1) for m in found])
    seconds = np.array([int(m[1]) for m in found])
    step = int(seconds.max() - seconds.min()) + 1
    array = np.frombuffer(text, np.uint8).copy()
    times = max(1, -(-size // len(text)))
    base = 0 if (seconds.max() + times * step) < 10**width else int(seconds.min())
    with open(out, "wb") as file:
        for k in range(times):
            now = seconds - base + k * step
            if now.max() >= 10**width:
                raise ValueError(f"{out}: its times would get another digit")
            for digit in range(width):
                array[at + width - 1 - digit] = 48 + now // 10**digit % 10
            file.write(array.tobytes())
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bytes", type=float, default=1e8)
    given = parser.parse_args()
    print(enlarge(given.source, given.out, int(given.bytes)))


if __name__ == "__main__":
    main()
