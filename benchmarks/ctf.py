"""How fast CTF is read, against babeltrace2 on the same traces in the same run (all fields of all events in each).

    python benchmarks/ctf.py [--events 100000] [--runs 3] [--windows] [--out benchmarks/results/ctf.json]

Records LTTng-UST traces (the tests' program, thirty short runs of it with buffers of their own, every allocation of
threads by LTTng's wrapper of libc) and two of perf, as root. Times are processor seconds, the least of all runs: ours
and babeltrace2's bindings without the interpreter's start, babeltrace2's text without anything taken off; whole
commands are compared with that, too.
``--windows`` measures only windows around few gaps against a whole reading, and leaves the other results as they are.
Headers are looked at (``scan --quick``) in files made of one recorded packet over and over, padded to a size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import ROOT
from reading import about

from tracemend.formats import glance, read, read_windows
from tracemend.formats.ctf.tsdl import read_metadata
from tracemend.menders.base import CONTEXT

#: What reads every field of every event by babeltrace2's bindings; prints events and processor seconds.
BINDINGS = """
import bt2, sys, time

def value(field):
    kind = type(field).__name__
    if "Structure" in kind:
        return {k: value(v) for k, v in field.items()}
    if "Array" in kind:
        return [value(v) for v in field]
    if "Variant" in kind:
        return value(field.selected_option)
    return float(field) if "Real" in kind else int(field) if "Integer" in kind or "Enum" in kind else str(field)

begin, events = time.process_time(), 0
for message in bt2.TraceCollectionMessageIterator(sys.argv[1]):
    if type(message) is bt2._EventMessageConst:
        event = message.event
        scopes = (event.common_context_field, event.specific_context_field, event.payload_field)
        fields = [value(s) for s in scopes if s is not None]
        cpu = int(event.packet.context_field["cpu_id"])
        row = message.default_clock_snapshot.ns_from_origin, cpu, event.name, fields
        events += 1
print(events, time.process_time() - begin)
"""


#: Threads that allocate: what LTTng's wrapper of libc is given to record.
THREADS = """
import json, sys, threading

def work():
    for _ in range(int(sys.argv[1]) // 40):
        json.loads(json.dumps([*range(100), *["a" * 500] * 20]))

threads = [threading.Thread(target=work) for _ in range(40)]
[t.start() for t in threads]
[t.join() for t in threads]
"""


def build(folder: Path) -> Path:
    """The tests' program with tracepoints, compiled."""
    source, program = ROOT / "tests" / "formats" / "ctf_app", folder / "app"
    command: list[str | Path] = [
        "gcc",
        "-O1",
        f"-I{source}",
        source / "app.c",
        "-o",
        program,
        "-llttng-ust",
        "-ldl",
        "-lpthread",
    ]
    subprocess.run(command, check=True)
    return program


def record_lttng(folder: Path, name: str, run: Callable[[], None], channel: str, events: str = "demo:*") -> Path:
    """What happens in the run under LTTng, losing nothing."""
    session = f"benchmark-{os.getpid()}-{name}"
    for command in (
        f"create {session} --output={folder / name}",
        f"enable-channel -u -s {session} ch {channel}",
        f"enable-event -u {events} -c ch -s {session}",
        f"add-context -u -s {session} -c ch -t vtid -t procname -t vpid",
        f"start {session}",
    ):
        subprocess.run(["lttng", *command.split()], check=True, stdout=subprocess.DEVNULL)
    run()
    subprocess.run(["lttng", "destroy", session], check=True, stdout=subprocess.DEVNULL)
    return folder / name


def recorded(folder: Path, program: Path, events: int) -> dict[str, Path]:
    """All traces that are read whole, by what they are called in the results."""

    def processes() -> None:
        for _ in range(30):
            subprocess.run([program, str(events // 75), "2"], check=True)

    def allocating() -> None:
        wrapped = os.environ | {"LD_PRELOAD": "liblttng-ust-libc-wrapper.so"}
        subprocess.run(["/usr/bin/python3", "-c", THREADS, str(events // 25)], env=wrapped, check=True)

    def demo() -> None:
        subprocess.run([program, str(events * 2 // 5), "2"], check=True)

    large = "--subbuf-size=8M --num-subbuf=8"
    return {
        "LTTng-UST": record_lttng(folder, "lttng", demo, large),
        "LTTng-UST, 30 processes": record_lttng(
            folder, "processes", processes, "--buffers-pid --subbuf-size=256k --num-subbuf=4"
        ),
        "LTTng-UST, 40 threads' allocations": record_lttng(folder, "libc", allocating, large, "lttng_ust_libc:*"),
        "perf data convert": record_perf(folder, "raw_syscalls:*,sched:sched_switch"),
        "perf data convert, 1.1 MB of metadata": record_perf(folder, "syscalls:*,sched:*"),
    }


def record_perf(folder: Path, events: str) -> Path:
    """System calls and scheduling of a listing, by perf."""
    data, name = folder / "perf.data", f"perf-{events.partition(':')[0]}"
    listing = ["find", "/usr/share", "-size", "+1"]
    subprocess.run(
        ["perf", "record", "-q", "-m", "4096", "-e", events, "-o", data, "--", *listing],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    convert: list[str | Path] = ["perf", "data", "convert", "-f", "-i", data, "--to-ctf", folder / name]
    subprocess.run(convert, check=True, capture_output=True)
    return folder / name


def ours(folder: Path) -> tuple[int, float]:
    begin = time.process_time()
    events = len(read(folder))
    return events, time.process_time() - begin


def bindings(folder: Path) -> tuple[int, float]:
    done = subprocess.run(
        ["/usr/bin/python3", "-c", BINDINGS, folder], capture_output=True, text=True, check=True
    ).stdout.split()
    return int(done[0]), float(done[1])


def command(*words: str | Path) -> tuple[int, float]:
    """Lines that a command prints, and its processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return printed.count(b"\n"), after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def text(folder: Path) -> tuple[int, float]:
    return command("babeltrace2", folder)


def scan(folder: Path) -> tuple[int, float]:
    return command(sys.executable, "-m", "tracemend", "scan", folder)


def quick(folder: Path) -> tuple[int, float]:
    return command(sys.executable, "-m", "tracemend", "scan", "--quick", folder)


def metadata(folder: Path) -> tuple[int, float]:
    """Bytes of all metadata, and what reading it takes."""
    files = list(folder.rglob("metadata"))
    begin = time.process_time()
    for file in files:
        read_metadata(file)
    return sum(f.stat().st_size for f in files), time.process_time() - begin


def fastest(runs: int, work: Callable[[Path], tuple[int, float]], folder: Path) -> tuple[int, float]:
    found = [work(folder) for _ in range(runs)]
    return found[0][0], min(seconds for _, seconds in found)


def measure(folder: Path, runs: int) -> dict[str, Any]:
    """One trace by all three."""
    read(folder)  # what is imported at the first reading doesn't count
    results = {name: fastest(runs, work, folder) for name, work in (("ours", ours), ("bt2", bindings), ("text", text))}
    events = {count for count, _ in results.values()}
    assert len(events) == 1, f"they read different numbers of events: {results}"
    rates = {name: count / seconds for name, (count, seconds) in results.items()}
    commands = {work.__name__: fastest(runs, work, folder)[1] for work in (scan, quick)}
    size, parsing = fastest(runs, metadata, folder)
    return {
        "events": events.pop(),
        "bytes": sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()),
        "events_per_s": round(rates["ours"]),
        "babeltrace2_python_events_per_s": round(rates["bt2"]),
        "babeltrace2_text_events_per_s": round(rates["text"]),
        "times_babeltrace2_python": round(rates["ours"] / rates["bt2"], 1),
        "times_babeltrace2_text": round(rates["ours"] / rates["text"], 2),
        "scan_of_babeltrace2_text_s": round(commands["scan"] / results["text"][1], 2),
        "quick_of_babeltrace2_text_s": round(commands["quick"] / results["text"][1], 2),
        "babeltrace2_text_s": round(results["text"][1], 2),
        "metadata_bytes": size,
        "metadata_mb_per_s": round(size / parsing / 1e6, 2),
    }


def measure_glance(trace: Path, folder: Path, size: int, total: int, runs: int) -> dict[str, Any]:
    """Headers of ``total`` bytes of packets of ``size`` bytes each, warm."""
    folder.mkdir()
    source = next(trace.rglob("metadata")).parent
    (folder / "metadata").write_bytes((source / "metadata").read_bytes())
    packet = bytearray((source / "ch_0").read_bytes()[:4096])
    struct.pack_into("<2Q", packet, 48, 2048 * 8, size * 8)  # LTTng's packet context: content size, packet size
    with open(folder / "ch_0", "wb") as f:
        for _ in range(total // size):
            f.write(bytes(packet).ljust(size, b"\0"))

    def look(path: Path) -> tuple[int, float]:
        begin = time.process_time()
        packets = sum(s.packets for s in glance(path).streams)
        return packets, time.process_time() - begin

    packets, seconds = fastest(runs + 1, look, folder)
    (folder / "ch_0").unlink()
    return {"packets": packets, "gb_per_s": round(total / seconds / 1e9, 2), "packets_per_s": round(packets / seconds)}


def record_few_gaps(folder: Path, program: Path, events: int, subbuf_kb: int = 16) -> Path:
    """The tests' program in bursts, in buffers that one burst in the middle is too much for: few gaps."""
    session = f"benchmark-{os.getpid()}-few"
    for command in (
        f"create {session} --output={folder / 'few'}",
        f"enable-channel -u -s {session} ch --subbuf-size={subbuf_kb}k --num-subbuf=8",
        f"enable-event -u demo:* -c ch -s {session}",
        f"add-context -u -s {session} -c ch -t vtid -t procname -t vpid",
        f"start {session}",
    ):
        subprocess.run(["lttng", *command.split()], check=True, stdout=subprocess.DEVNULL)
    for k in range(101):  # each burst fits the buffers, the one in the middle doesn't
        subprocess.run([program, str(events // 250 if k != 50 else events // 2), "2"], check=True)
        time.sleep(0.05)
    subprocess.run(["lttng", "destroy", session], check=True, stdout=subprocess.DEVNULL)
    return folder / "few"


def measure_windows(folder: Path, runs: int) -> dict[str, Any]:
    """A whole reading against one of the windows around the gaps, both with the SHA-256 of the files."""

    def windows(path: Path) -> tuple[int, float]:
        begin = time.process_time()
        events = len(read_windows(path, CONTEXT))
        return events, time.process_time() - begin

    whole, seconds = fastest(runs, ours, folder)
    some, fewer = fastest(runs, windows, folder)
    trace = read_windows(folder, CONTEXT)
    assert trace.partial is not None
    return {
        "events": whole,
        "gaps": len(trace.gaps),
        "lost": trace.lost,
        "packets": trace.partial.packets,
        "packets_decoded": trace.partial.packets_read,
        "share_of_packets": round(trace.partial.packets_read / trace.partial.packets, 4),
        "events_decoded": some,
        "seconds_whole": round(seconds, 4),
        "seconds_windows": round(fewer, 4),
        "times_faster": round(seconds / fewer, 1),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    options.add_argument("--events", type=int, default=100_000, help="events of the LTTng trace")
    options.add_argument("--runs", type=int, default=3, help="runs of which the fastest counts")
    options.add_argument("--gb", type=float, default=1.0, help="size of the files whose headers are looked at")
    options.add_argument("--windows", action="store_true", help="only windows against whole readings")
    options.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results" / "ctf.json")
    chosen = options.parse_args()
    results, headers = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder)
        version = subprocess.run(["babeltrace2", "--version"], capture_output=True, text=True, check=True).stdout
        made = about(babeltrace2=version.splitlines()[0])
        windows = measure_windows(record_few_gaps(folder, program, chosen.events), chosen.runs)
        print("windows", windows, flush=True)
        if chosen.windows:
            document = json.loads(chosen.out.read_text()) | {"windows": {**windows, "made": made}}
            chosen.out.write_text(json.dumps(document, indent=1) + "\n")
            return
        traces = recorded(folder, program, chosen.events)
        for title, trace in traces.items():
            results[title] = measure(trace, chosen.runs)
            print(title, results[title], flush=True)
        for kib in (4, 64, 512):
            rates = measure_glance(traces["LTTng-UST"], folder / str(kib), kib << 10, int(chosen.gb * 1e9), chosen.runs)
            headers[f"packets of {kib} KiB"] = rates
            print(kib, rates, flush=True)
    document = {
        **made,
        "seconds": "processor",
        "results": results,
        "headers": headers,
        "windows": {**windows, "made": made},
    }
    chosen.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
