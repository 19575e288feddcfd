"""A large trace out of a small one: a recording, repeated with its times moved on, of ftrace text or of LTTng (CTF).

    python scripts/enlarge.py recordings/deploy/lossy.txt large.txt --bytes 1e9

What it makes is no recording: it serves to measure time and memory, and stays out of the repository.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
from itertools import accumulate
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


#: What LTTng writes in front of a packet's events: magic number, uuid, stream, instance; begin and end, sizes of
#: content and packet in bits, number of the packet, events discarded so far.
PACKET = struct.Struct("<I16sIQQQQQQQ")
MAGIC = 0xC1FC1FC1
#: Times are moved on by so many cycles, so that the lower halves that most events have stay as they are.
STEP = 1 << 32


def enlarge_ctf(source: Path, out: Path, size: int) -> int:
    """Write an LTTng trace's packets again and again until they have ``size`` bytes; returns how often.

    Raises ValueError for packets of another layout.
    """
    packets = {file: _packets(file.read_bytes()) for file in _streams(source)}
    span = max(p[-1][1] for p in packets.values()) - min(p[0][0] for p in packets.values())
    step = (span // STEP + 1) * STEP
    times = max(1, -(-size // sum(len(p[2]) for held in packets.values() for p in held)))
    for metadata in source.rglob("metadata"):
        (out / metadata.parent.relative_to(source)).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(metadata, out / metadata.relative_to(source))
    for file, held in packets.items():
        counts = [PACKET.unpack_from(packet)[9] for _, _, packet in held]
        # at times LTTng leaves a 0 behind another count, which is none
        none = [count == 0 and before > 0 for before, count in zip(accumulate(counts, max), counts, strict=True)]
        with open(out / file.relative_to(source), "wb") as to:
            for k in range(times):
                for (begin, end, packet), uncounted in zip(held, none, strict=True):
                    head = list(PACKET.unpack_from(packet))
                    head[8] += k * len(held)
                    head[9] += 0 if uncounted else k * max(counts)
                    moved = bytearray(packet)
                    for high in {begin >> 32, end >> 32}:  # of times that stand in full
                        _move(moved, high, (begin, end), k * step)
                    head[4:6] = begin + k * step, end + k * step
                    moved[: PACKET.size] = PACKET.pack(*head)
                    to.write(moved)
    return times


def _streams(source: Path) -> list[Path]:
    return [f for f in sorted(source.rglob("*")) if f.is_file() and f.name != "metadata" and f.suffix != ".idx"]


def _packets(raw: bytes) -> list[tuple[int, int, bytes]]:
    """The packets of a stream's file with their first and last times."""
    found, at = [], 0
    while at < len(raw):
        magic, _, _, _, begin, end, content, size, _, _ = PACKET.unpack_from(raw, at)
        if magic != MAGIC or not 0 < content <= size or size % 8 or begin > end:
            raise ValueError(f"byte {at}: no packet as LTTng writes it")
        found.append((begin, end, raw[at : at + size // 8]))
        at += size // 8
    return found


def _move(packet: bytearray, high: int, span: tuple[int, int], by: int) -> None:
    """Move on every time of a packet's span that stands in it with 64 bits; its upper half is ``high``."""
    pattern = struct.pack("<I", high)
    at = packet.find(pattern, PACKET.size + 4)
    while at >= 0:
        (value,) = struct.unpack_from("<Q", packet, at - 4)
        if span[0] <= value <= span[1]:
            struct.pack_into("<Q", packet, at - 4, value + by)
        at = packet.find(pattern, at + 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--bytes", type=float, default=1e8)
    given = parser.parse_args()
    way = enlarge_ctf if given.source.is_dir() else enlarge
    print(way(given.source, given.out, int(given.bytes)))


if __name__ == "__main__":
    main()
