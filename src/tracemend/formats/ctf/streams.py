"""The streams of all traces in a folder: opened, joined over the chunks of a rotated trace, and numbered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tracemend.errors import TraceError
from tracemend.formats.base import Builder
from tracemend.formats.ctf.counters import step
from tracemend.formats.ctf.event_names import Kinds
from tracemend.formats.ctf.folders import METADATA, folder_of, folders
from tracemend.formats.ctf.packets import Key, Packets, Stream
from tracemend.trace.evidence import Doubt, Unplaced


def open_traces(path: Path, builder: Builder, kinds: Kinds) -> list[Packets]:
    """The traces in a folder, with their metadata read; raises TraceError if there is none."""
    found, others = folders(folder_of(path)) if path.is_dir() or path.name == METADATA else ([], [])
    if not found:
        raise TraceError(path, 0, "no folder with a CTF trace's metadata")
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        builder.warnings.append(f"passed over, no CTF metadata: {others[0] / METADATA}{more}")
    return [Packets(folder, builder, kinds.plan) for folder in found]


def all_streams(traces: list[Packets]) -> list[Stream]:
    """The streams of traces that were read together, numbered; one that goes on in another trace's folder is one.

    LTTng's rotated chunks are traces of one UUID, with metadata that only grows; the counters of a stream go on over
    them, so what a chunk's first packet counts was lost behind the last one of the chunk before it. All their streams
    are of the trace that has the whole metadata. What doesn't follow in time stays apart (``copies``). Raises
    TraceError.
    """
    found: list[Stream] = []
    for whole, chunks in _grown(traces):
        parts: dict[Key, list[Stream]] = {}
        for trace in chunks:
            for s in trace.streams():
                number, s.trace = s.decoder.stream.id, whole
                s.decoder, _ = whole.kind(number)
                parts.setdefault((number, id(s) if s.instance is None else s.instance), []).append(s)
        found += (s for of_one in parts.values() for s in _joined(of_one))
    number_streams(found)
    unread = [file for trace in traces for file in trace.unread]
    if found and unread:
        more = f" (and {len(unread) - 1} more files)" if len(unread) > 1 else ""
        traces[0].builder.unplaced.append(Unplaced(f"nothing of {unread[0].name}{more} can be read", None))
    return found


def warnings(traces: list[Packets], streams: list[Stream]) -> list[str]:
    """What is odd about the streams."""
    return late_streams(streams) + copies(streams) + shared_cpus(streams) + foreign(traces)


def _grown(traces: list[Packets]) -> list[tuple[Packets, list[Packets]]]:
    """Traces whose metadata are one text, as far as each has got, with the one that has most of it."""
    several = {u for u, n in Counter(t.metadata.uuid for t in traces).items() if u is not None and n > 1}
    groups: list[tuple[bytes, Packets, list[Packets]]] = []
    for trace in traces:
        if trace.metadata.uuid not in several:
            groups.append((b"", trace, [trace]))
            continue
        text = trace.text()
        alike = [i for i, (_, whole, _) in enumerate(groups) if whole.metadata.uuid == trace.metadata.uuid]
        at = next((i for i in alike if groups[i][0].startswith(text) or text.startswith(groups[i][0])), None)
        if at is None:
            groups.append((text, trace, [trace]))
            continue
        longest, _, chunks = groups[at]
        chunks.append(trace)
        if len(text) > len(longest):
            groups[at] = text, trace, chunks
    return [(whole, chunks) for _, whole, chunks in groups]


def _joined(parts: list[Stream]) -> list[Stream]:
    """What may be one stream as one, but for parts that begin before the one in front of them has ended."""

    def edges(s: Stream) -> tuple[int, int, int]:
        return s.packets[0].begin or 0, s.packets[-1].end or 0, s.packets[0].sequence or 0

    first, *rest = sorted(parts, key=edges)
    result = [first]
    for s in rest:
        before, after = first.packets[-1], s.packets[0]
        if before.end is None or after.begin is None:
            result.append(s)
        elif (after.begin, step(before.sequence, after.sequence, 64)) > (before.end, 0):
            first.packets.extend(s.packets)
        else:
            s.copy = True
            result.append(s)
    return result


#: Tracers by what they call themselves in the environment, where that isn't what people call them.
TRACERS = {"lttng-modules": "lttng", "lttng-ust": "lttng"}


def tracer(traces: list[Packets]) -> str:
    """Who wrote the traces, if all of them say the same."""
    names = set()
    for trace in traces:
        env = trace.metadata.env
        name = str(env.get("tracer_name", "lttng-ust" if env.get("domain") == "ust" else ""))
        names.add(TRACERS.get(name, name))
    return names.pop() if len(names) == 1 else ""


def doubts(streams: list[Stream]) -> list[Doubt]:
    """Why streams that have events may have lost some without a word."""
    held = [s for s in streams if any(p.content > p.body for p in s.packets)]
    found = []
    if any(tracer([s.trace]) == "perf" for s in held):
        why = "perf data convert --to-ctf writes none of the losses that perf.data tells of"
        found.append(Doubt(why, "Scan the perf.data that it was made from."))
    silent = [s for s in held if tracer([s.trace]) != "perf" and not s.counts]
    if silent:
        some = "its" if len(silent) == len(held) else f"the {silent[0].file.name} stream's"
        remedy = "Record with a tracer that counts what it discards (events_discarded in each packet, as LTTng does)."
        found.append(Doubt(f"{some} packets count no discarded events", remedy))
    for late in late_streams(streams):
        found.append(Doubt(late, "Read a rotated trace with all its chunks; a snapshot holds the latest events alone."))
    return found


def late_streams(streams: list[Stream]) -> list[str]:
    """A warning where the first packet isn't the first that the tracer had: it was overwritten, or is elsewhere.

    A rotated chunk alone begins like that, so it is no gap.
    """
    late = [s for s in streams if s.packets[0].sequence and not s.copy]
    if not late:
        return []
    first = f"{late[0].file.name} with packet {late[0].packets[0].sequence}"
    return [f"{len(late)} of {len(streams)} streams begin late ({first}): what they held before is not here"]


def copies(streams: list[Stream]) -> list[str]:
    """A warning where packets of one stream lie twice."""
    twice = [s for s in streams if s.copy]
    if not twice:
        return []
    return [f"{len(twice)} streams lie there twice ({twice[0].file}): a copy of the trace? Each is told for itself"]


def shared_cpus(streams: list[Stream]) -> list[str]:
    """A warning where streams go by another number than their cpu's."""
    other = [s for s in streams if s.cpu not in (s.number, -1)]
    if not other:
        return []
    s = other[0]
    return [f"several streams on one cpu: {s.number} stands for {s.file.name} on cpu {s.cpu}"]


def foreign(traces: list[Packets]) -> list[str]:
    """A warning where packets have another trace's UUID."""
    count, first = sum(t.foreign for t in traces), next((t.first_foreign for t in traces if t.foreign), "")
    if not count:
        return []
    packets = "1 packet has" if count == 1 else f"{count} packets have"
    return [f"{packets} another UUID than the metadata ({first}): read all the same, as streams of their own"]


def number_streams(streams: list[Stream]) -> None:
    """Give each stream the number that stands for it where the project speaks of cpus.

    That is its cpu, if it is the only stream there. Where several streams share a cpu (channels, or kernel and user
    space), the first one, by the files' names, has the cpu's number and the others 1000 more each: 1002 is the second
    stream of cpu 2. Streams that don't tell their cpu count as those of cpu 0 if there are several, a single one is -1.

    Raises TraceError if there are more streams than numbers.
    """
    homeless = sum(s.cpu < 0 for s in streams)
    stride = 1000
    while stride <= max((s.cpu for s in streams), default=0):
        stride *= 10
    seen: Counter[int] = Counter()
    for s in sorted(streams, key=lambda s: s.file):
        cpu = 0 if s.cpu < 0 and homeless > 1 else s.cpu
        s.number = cpu + stride * seen[cpu]
        seen[cpu] += 1
        if s.number >= 1 << 31:
            raise TraceError(s.file, 0, "too many streams on one cpu")
