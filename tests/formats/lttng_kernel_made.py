"""CTF as LTTng's kernel tracer lays it out, made from own recordings of ftrace: no kernel module can be loaded here.

    python lttng_kernel_made.py RECORDING FOLDER

Names and fields of events, the header of events, contexts and packets are those of lttng-modules 2.13 on x86-64; what
was recorded fills them. What ftrace doesn't record is left out (headers of network packets, system calls' strings and
most of their arguments) or made up (process ids are thread ids, the namespaces' numbers are 0). The environment of the
metadata says that the trace is made.
"""

from __future__ import annotations

import re
import struct
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tracemend.formats import read
from tracemend.trace.events import ENTER, INSTANT, Trace
from tracemend.trace.fields import values

MAGIC = 0xC1FC1FC1
UUID = uuid.UUID("5ca1ab1e-0000-4000-8000-6d6164652021")
#: Events of a packet, bytes that its size is a multiple of.
MOST, PAGE = 300, 4096
#: A thread's name, and what the kernel takes from priorities.
COMM, RT = 16, 100

CHARACTER = "integer { size = 8; align = 8; signed = 1; encoding = UTF8; base = 10; }"
#: Types of numbers: size, whether they have a sign, base, and how they are packed.
NUMBERS = {
    "int": (32, 1, 10, "<i"),
    "uint": (32, 0, 10, "<I"),
    "long": (64, 1, 10, "<q"),
    "ulong": (64, 0, 10, "<Q"),
    "pointer": (64, 0, 16, "<Q"),
    "byte": (8, 0, 16, "<B"),
}


def declared(name: str, kind: str) -> str:
    """A field in the metadata."""
    if kind == "comm":
        return f"{CHARACTER} _{name}[{COMM}];"
    if kind == "string":
        return f"string _{name};"
    if kind == "tids":
        return f"uint8_t __{name}_length; {integer('int')} _{name}[ __{name}_length ];"
    if kind == "six":
        return f"{integer('ulong')} _{name}[6];"
    return f"{integer(kind)} _{name};"


def integer(kind: str) -> str:
    size, signed, base, _ = NUMBERS[kind]
    return f"integer {{ size = {size}; align = 8; signed = {signed}; encoding = none; base = {base}; }}"


#: Fields as (name, type, what is recorded of it); a dash: made up.
WOKEN = [("comm", "comm", "comm"), ("tid", "int", "pid"), ("prio", "int", "prio"), ("target_cpu", "int", "target_cpu")]
TASK = [("comm", "comm", "comm"), ("tid", "int", "pid"), ("prio", "int", "prio")]
BLOCK = [
    ("dev", "uint", "dev"),
    ("sector", "ulong", "sector"),
    ("nr_sector", "uint", "nr_sector"),
    ("bytes", "uint", "bytes"),
    ("tid", "int", "-"),
    ("rwbs", "uint", "rwbs"),
    ("comm", "comm", "by"),
]
PACKET = [("skbaddr", "pointer", "skbaddr"), ("len", "uint", "len"), ("name", "string", "dev")]
FAULT = [("address", "pointer", "address"), ("ip", "pointer", "-"), ("error_code", "byte", "error_code")]
LAYOUT: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "sched_switch": (
        "sched_switch",
        [
            ("prev_comm", "comm", "prev_comm"),
            ("prev_tid", "int", "prev_pid"),
            ("prev_prio", "int", "prev_prio"),
            ("prev_state", "long", "prev_state"),
            ("next_comm", "comm", "next_comm"),
            ("next_tid", "int", "next_pid"),
            ("next_prio", "int", "next_prio"),
        ],
    ),
    **{name: (name, WOKEN) for name in ("sched_waking", "sched_wakeup", "sched_wakeup_new")},
    "sched_migrate_task": (
        "sched_migrate_task",
        [*TASK, ("orig_cpu", "int", "orig_cpu"), ("dest_cpu", "int", "dest_cpu")],
    ),
    "sched_process_exit": ("sched_process_exit", TASK),
    "sched_process_exec": (
        "sched_process_exec",
        [("filename", "string", "filename"), ("tid", "int", "pid"), ("old_tid", "int", "old_pid")],
    ),
    "sched_process_fork": (
        "sched_process_fork",
        [
            ("parent_comm", "comm", "comm"),
            ("parent_tid", "int", "pid"),
            ("parent_pid", "int", "pid"),
            ("parent_ns_inum", "uint", "-"),
            ("child_comm", "comm", "child_comm"),
            ("child_tid", "int", "child_pid"),
            ("vtids", "tids", "child_pid"),
            ("child_pid", "int", "child_pid"),
            ("child_ns_inum", "uint", "-"),
        ],
    ),
    "irq_handler_entry": ("irq_handler_entry", [("irq", "int", "irq"), ("name", "string", "name")]),
    "irq_handler_exit": ("irq_handler_exit", [("irq", "int", "irq"), ("ret", "int", "ret")]),
    **{f"softirq_{side}": (f"irq_softirq_{side}", [("vec", "uint", "vec")]) for side in ("entry", "exit", "raise")},
    "timer_expire_entry": (
        "timer_expire_entry",
        [
            ("timer", "pointer", "timer"),
            ("now", "ulong", "now"),
            ("function", "pointer", "-"),
            ("baseclk", "ulong", "baseclk"),
        ],
    ),
    "timer_expire_exit": ("timer_expire_exit", [("timer", "pointer", "timer")]),
    "hrtimer_expire_entry": (
        "timer_hrtimer_expire_entry",
        [("hrtimer", "pointer", "hrtimer"), ("now", "long", "now"), ("function", "pointer", "-")],
    ),
    "hrtimer_expire_exit": ("timer_hrtimer_expire_exit", [("hrtimer", "pointer", "hrtimer")]),
    "block_rq_insert": ("block_rq_insert", BLOCK),
    "block_rq_issue": ("block_rq_issue", BLOCK),
    "block_rq_complete": ("block_rq_complete", [*BLOCK[:3], ("error", "int", "error"), BLOCK[5]]),
    "net_dev_queue": ("net_dev_queue", PACKET),
    "netif_receive_skb": ("net_if_receive_skb", PACKET),
    "net_dev_xmit": ("net_dev_xmit", [PACKET[0], ("rc", "int", "rc"), *PACKET[1:]]),
    "cpu_idle": ("power_cpu_idle", [("state", "uint", "state"), ("cpu_id", "uint", "cpu_id")]),
    "page_fault_user": ("x86_exceptions_page_fault_user", FAULT),
    "page_fault_kernel": ("x86_exceptions_page_fault_kernel", FAULT),
}
#: What is read by ``trace.fields``, by the kernel's names: texts may hold anything, commands above all.
READ = (
    *("prev_comm", "prev_pid", "prev_state", "next_comm", "next_pid"),
    *("comm", "pid", "target_cpu", "orig_cpu", "dest_cpu", "child_comm", "child_pid", "filename", "old_pid"),
    *("irq", "name", "ret", "vec"),
)
#: Arguments of some calls: (name, type, which one of the six).
ARGUMENTS = {
    "close": [("fd", "uint", 0)],
    "read": [("fd", "uint", 0), ("count", "ulong", 2)],
    "write": [("fd", "uint", 0), ("buf", "pointer", 1), ("count", "ulong", 2)],
    "lseek": [("fd", "uint", 0), ("offset", "long", 1), ("whence", "uint", 2)],
    "brk": [("brk", "ulong", 0)],
    "mmap": [(n, "ulong", i) for i, n in enumerate(("addr", "len", "prot", "flags", "fd", "off"))],
}
BLOCK_TEXT = re.compile(
    r"(?P<major>\d+),(?P<minor>\d+) (?P<rwbs>\w+) (?:(?P<bytes>\d+) )?\(.*?\) (?P<sector>\d+) \+ (?P<nr_sector>\d+)"
    r".*?\[(?P<last>[^\]]*)\]"
)
#: The letters of a block request's kind, and of what a thread waits for.
RWBS = {"W": 1, "D": 2, "R": 4, "A": 8, "S": 32, "M": 64, "F": 256}
STATES = {letter: 1 << k for k, letter in enumerate("SDTtXZPI")}


def write(trace: Trace, folder: Path) -> Path:
    """The trace as a folder of CTF; events that have no layout here are left out. Its gaps' counts become those of
    events_discarded."""
    folder.mkdir(parents=True)
    writer = _Writer(trace)
    for cpu, rows in trace.streams.items():
        (folder / f"channel0_{cpu}").write_bytes(b"".join(writer.stream(cpu, rows.tolist())))
    (folder / "metadata").write_text(writer.metadata())
    return folder


@dataclass
class _Writer:
    trace: Trace
    #: LTTng's name of each kind of event and its fields' declarations, in order of their numbers.
    kinds: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.trace.table
        self.name, self.args, self.ret, self.comm = (table[c].to_pylist() for c in ("name", "args", "ret", "comm"))
        self.said: list[dict[str, str]] = [{} for _ in self.name]
        for name in LAYOUT.keys() & set(self.name):
            rows, texts = values(self.trace, name, READ)
            for key, text in texts.items():
                for row, value in zip(rows.tolist(), text.to_pylist(), strict=True):
                    if value is not None:
                        self.said[row][key] = value

    def stream(self, cpu: int, rows: Sequence[int]) -> Iterator[bytes]:
        """The packets of one cpu."""
        trace, lost, number = self.trace, 0, 0
        counts = {g.after: g for g in trace.gaps if g.cpu == cpu}
        held: list[int] = []
        begin = int(trace.time_ns[rows[0]])
        for row in [*rows, None]:
            gap = counts.get(row)
            if row is None or gap or len(held) == MOST:
                if gap and not held:
                    begin = gap.begin_ns
                lost += (gap.count or 0) if gap else 0
                end = gap.end_ns if gap else int(trace.time_ns[held[-1]])
                yield self.packet(cpu, held, (begin, end), number, lost)
                number, held = number + 1, []
                begin = 0 if row is None else int(trace.time_ns[row])
            if row is not None:
                held.append(row)

    def packet(self, cpu: int, rows: Sequence[int], span: tuple[int, int], number: int, lost: int) -> bytes:
        events, before = [], span[0]
        for row in rows:
            made = self.event(row)
            if made:
                kind, fields = made
                now = int(self.trace.time_ns[row])
                long = now - before >= 1 << 32
                events.append(
                    struct.pack("<HIQ", 0xFFFF, kind, now) if long else struct.pack("<HI", kind, now & 0xFFFFFFFF)
                )
                context = struct.pack(f"<i{COMM}s", int(self.trace.tid[row]), (self.comm[row] or "").encode())
                events += [context, fields]
                before = now
        head = struct.pack("<I16sIQ", MAGIC, UUID.bytes, 0, cpu)
        size = len(head) + 6 * 8 + 4 + sum(map(len, events))
        whole = -(-size // PAGE) * PAGE
        about = struct.pack("<6QI", *span, 8 * size, 8 * whole, number, lost, cpu)
        return (head + about + b"".join(events)).ljust(whole, b"\0")

    def event(self, row: int) -> tuple[int, bytes] | None:
        """The number of an event's kind, and its fields; None for one that is left out."""
        name, phase = self.name[row], int(self.trace.phase[row])
        if phase == INSTANT:
            if name not in LAYOUT:
                return None
            name, fields = LAYOUT[name]
            said = self.told(row)
            found = [(n, kind, said.get(source, "0")) for n, kind, source in fields]
        elif name.startswith("syscall_"):  # one without a name
            name = "syscall_exit_unknown"
            found = [("id", "int", self.name[row].removeprefix("syscall_")), ("ret", "long", self.ret[row] or "0")]
            found.append(("args", "six", "-"))
        elif phase == ENTER:
            words = re.findall(r"[0-9a-f]+", self.args[row] or "") or ["0"] * 6
            found = [(n, kind, str(int(words[i], 16))) for n, kind, i in ARGUMENTS.get(name, [])]
            name = f"syscall_entry_{name}"
        else:
            name, found = f"syscall_exit_{name}", [("ret", "long", self.ret[row] or "0")]
        self.kinds.setdefault(name, " ".join(declared(n, kind) for n, kind, _ in found))
        return list(self.kinds).index(name), b"".join(_packed(kind, text) for _, kind, text in found)

    def told(self, row: int) -> dict[str, str]:
        """What is recorded of an event, by the names of LAYOUT."""
        text = self.args[row] or ""
        said = dict(re.findall(r"(\w+)=(\S+)", text)) | self.said[row]
        if block := BLOCK_TEXT.search(text):
            said |= {k: v for k, v in block.groupdict().items() if v}
            said["dev"] = str(int(block["major"]) << 20 | int(block["minor"]))
            said["rwbs"] = str(sum(RWBS.get(letter, 0) for letter in block["rwbs"]))
            said["error" if block["bytes"] is None else "by"] = block["last"]
        for key in said.keys() & {"prio", "prev_prio", "next_prio"}:
            said[key] = str(int(said[key]) - RT)
        if self.name[row] == "sched_switch":
            state = said["prev_state"]
            said["prev_state"] = str(256 if state == "R+" else sum(STATES.get(s, 0) for s in state.split("|")))
        if self.name[row] == "irq_handler_exit":
            said["ret"] = str(int(said["ret"] == "handled"))
        for key in said.keys() & {"timer", "hrtimer", "skbaddr"}:
            said[key] = str(int(said[key], 16))
        return said

    def metadata(self) -> str:
        unsigned = "".join(
            f"typealias integer {{ size = {n}; align = 8; signed = false; }} := uint{n}_t;\n" for n in (8, 16, 32, 64)
        )
        clocks = "".join(
            f"typealias integer {{ size = {n}; align = 8; signed = false; map = clock.monotonic.value; }} := "
            f"uint{n}_clock_monotonic_t;\n"
            for n in (32, 64)
        )
        events = "".join(
            f'event {{\n\tname = "{name}";\n\tid = {i};\n\tstream_id = 0;\n\tfields := struct {{ {fields} }};\n}};\n\n'
            for i, (name, fields) in enumerate(self.kinds.items())
        )
        return f"""/* CTF 1.8 */

{unsigned}typealias integer {{ size = 64; align = 8; signed = false; }} := unsigned long;

trace {{
	major = 1;
	minor = 8;
	uuid = "{UUID}";
	byte_order = le;
	packet.header := struct {{
		uint32_t magic;
		uint8_t  uuid[16];
		uint32_t stream_id;
		uint64_t stream_instance_id;
	}};
}};

env {{
	hostname = "made";
	domain = "kernel";
	sysname = "Linux";
	tracer_name = "lttng-modules";
	tracer_major = 2;
	tracer_minor = 13;
	made_from = "a recording of ftrace, by tracemend's tests";
}};

clock {{
	name = "monotonic";
	description = "Monotonic Clock";
	freq = 1000000000;
	offset = 0;
}};

{clocks}
struct packet_context {{
	uint64_clock_monotonic_t timestamp_begin;
	uint64_clock_monotonic_t timestamp_end;
	uint64_t content_size;
	uint64_t packet_size;
	uint64_t packet_seq_num;
	unsigned long events_discarded;
	uint32_t cpu_id;
}};

struct event_header_large {{
	enum : uint16_t {{ compact = 0 ... 65534, extended = 65535 }} id;
	variant <id> {{
		struct {{ uint32_clock_monotonic_t timestamp; }} compact;
		struct {{ uint32_t id; uint64_clock_monotonic_t timestamp; }} extended;
	}} v;
}} align(8);

stream {{
	id = 0;
	event.header := struct event_header_large;
	packet.context := struct packet_context;
	event.context := struct {{ {declared("tid", "int")} {declared("procname", "comm")} }};
}};

{events}"""


def _packed(kind: str, text: str) -> bytes:
    if kind == "comm":
        return text.encode()[: COMM - 1].ljust(COMM, b"\0")
    if kind == "string":
        return text.encode() + b"\0"
    if kind == "six":
        return bytes(6 * 8)
    number = int(text, 0) if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)", text) else 0
    if kind == "tids":
        return struct.pack("<Bi", 1, number)
    size, signed, _, layout = NUMBERS[kind]
    number &= (1 << size) - 1
    return struct.pack(layout, number - (1 << size) if signed and number >> (size - 1) else number)


if __name__ == "__main__":
    write(read(Path(sys.argv[1])), Path(sys.argv[2]))
