"""Coverage-guided fuzzing of the CTF reader (atheris): a trace or a TraceError, soon, whatever the bytes are.

    pip install atheris
    python tests/formats/fuzz.py CORPUS [MORE_CORPUS ...] [libFuzzer's options, such as -max_total_time=3600]

An input is a whole trace in one piece: the length of its metadata (32 bits, little-endian), the metadata, and behind it
the one stream's file. A corpus that isn't there begins with made-up traces. tests/data/fuzz_ctf.tar.xz has what an hour
found to be different from one another, which a test reads again without atheris:

    python tests/formats/fuzz.py SMALL CORPUS -merge=1
    tar --sort=name --mtime=@0 --owner=0 --group=0 -C SMALL -cJf tests/data/fuzz_ctf.tar.xz .
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

#: What the metadata's language is made of, for libFuzzer to put together.
WORDS = """
typealias integer floating_point struct variant enum string event stream clock trace env := size align signed byte_order
base encoding map exp_dig mant_dig { } [ ] < > ; : . = , ... -> le be native true false packet.header packet.context
event.header event.context event.fields stream.event.context timestamp timestamp_begin timestamp_end content_size
packet_size packet_seq_num events_discarded cpu_id id stream_id uuid magic name freq offset_s offset precision absolute
uint8_t uint32_t uint64_t 0x 18446744073709551615 -1 0 1 64
"""


def pack(metadata: bytes, stream: bytes) -> bytes:
    return struct.pack("<I", len(metadata)) + metadata + stream


def unpack(data: bytes, folder: Path) -> None:
    """Write the trace that ``data`` is."""
    length = int.from_bytes(data[:4], "little")
    (folder / "metadata").write_bytes(data[4 : 4 + length])
    (folder / "stream").write_bytes(data[4 + length :])


def seeds() -> Iterator[bytes]:
    """Made-up traces of random types to begin with."""
    from test_ctf import made

    for seed in range(40):
        trace, events, contexts = made(seed)
        yield pack(trace.metadata().encode(), trace.packet(events[:4], contexts=contexts[:4]))


def main() -> None:
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # pip install atheris

    with atheris.instrument_imports(include=["tracemend.formats"]):
        from tracemend.formats.ctf import reader  # noqa: F401
    from test_ctf import attempt

    corpus = next((Path(a) for a in sys.argv[1:] if a[0] != "-"), None)
    if corpus and not corpus.exists():
        corpus.mkdir()
        for number, data in enumerate(seeds() if "-merge=1" not in sys.argv else ()):
            (corpus / f"seed-{number}").write_bytes(data)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        words, trace = Path(name) / "words", Path(name) / "trace"
        words.write_text("".join(f'"{w}"\n' for w in WORDS.split()))
        trace.mkdir()

        def one(data: bytes) -> None:
            unpack(data, trace)
            attempt(trace, strict=not len(data) & 1)

        options = [f"-dict={words}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=8192"]
        # libFuzzer calls itself by the first word for -merge=1
        atheris.Setup([f"{sys.executable} {sys.argv[0]}", *options, *sys.argv[1:]], one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    main()
