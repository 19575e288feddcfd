"""Made-up ``trace.dat`` files: whatever can't be recorded on the machine that tests run on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

MAGIC = b"\x17\x08\x44tracing"
COMMON = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
)
EVENT_HEADER = (
    "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n\tarray       :   32 bits\n\n"
    "\tpadding     : type == 29\n\ttime_extend : type == 30\n\ttime_stamp : type == 31\n\tdata max type_len  == 28\n"
)
ENTER, EXIT, NOTE, ODD = 20, 21, 22, 23


def event(number: int, name: str, fields: list[tuple[str, int, int, int]], printed: str) -> bytes:
    """A format file; fields: declaration, offset, size, signed."""
    own = "".join(f"\tfield:{d};\toffset:{o};\tsize:{s};\tsigned:{g};\n" for d, o, s, g in fields)
    return f"name: {name}\nID: {number}\nformat:\n{COMMON}{own}\nprint fmt: {printed}\n".encode()


def formats(long: int) -> dict[str, list[bytes]]:
    """raw_syscalls, an event that the kernel would print, and one that nobody can."""
    enter = [("long id", 8, long, 1), ("unsigned long args[6]", 8 + long, 6 * long, 0)]
    done = [("long id", 8, long, 1), ("long ret", 8 + long, long, 1)]
    note = [("u32 left", 8, 4, 0), ("u8 small", 12, 1, 0), ("__data_loc char[] words", 16, 4, 0)]
    arguments = ", ".join(f"REC->args[{i}]" for i in range(6))
    return {
        "raw_syscalls": [
            event(ENTER, "sys_enter", enter, f'"NR %ld (%lx, %lx, %lx, %lx, %lx, %lx)", REC->id, {arguments}'),
            event(EXIT, "sys_exit", done, '"NR %ld = %ld", REC->id, REC->ret'),
        ],
        "made": [
            event(
                NOTE,
                "note",
                note,
                '"left=%04x small=%d is=%s flags=%s words=%s", REC->left, REC->small, __print_symbolic(REC->small, '
                '{ 1, "one" }, { 2, "two" }), __print_flags(REC->left & ((1 << 4) - 1), "|", { 1, "A" }, { 2, "B" }), '
                "__get_str(words)",
            ),
            event(ODD, "odd", note, '"%pM %s", REC->left, function_of(REC->small)'),
        ],
    }


@dataclass
class Made:
    """What is in a file. pages: the sub-buffers of each cpu, by instance (the top one is ``""``)."""

    version: int = 7
    order: str = "<"
    long: int = 8
    page_size: int = 4096
    compression: str = "none"
    commands: bytes = b"7 seven\n8 eight of-9\n"
    pages: dict[str, list[bytes]] = field(default_factory=lambda: {"": [b""]})
    options: list[tuple[int, bytes]] = field(default_factory=list)

    def number(self, value: int, size: int) -> bytes:
        return value.to_bytes(size, "little" if self.order == "<" else "big")

    def record(self, kind: int, tid: int, *values: int) -> bytes:
        """A record of longs."""
        longs = b"".join((v & (1 << 8 * self.long) - 1).to_bytes(self.long, self._endian) for v in values)
        return self.number(kind, 2) + bytes(2) + self.number(tid, 4) + longs

    def note(self, tid: int, left: int, small: int, words: bytes, kind: int = NOTE) -> bytes:
        """A record of the made-up event."""
        body = (
            self.number(kind, 2) + bytes(2) + self.number(tid, 4) + self.number(left, 4) + bytes([small & 255, 0, 0, 0])
        )
        where = (len(words) + 1) << 16 | len(body) + 4
        body += self.number(where, 4) + words + b"\0"
        return body + bytes(-len(body) % 4)

    @property
    def _endian(self) -> Literal["little", "big"]:
        return "little" if self.order == "<" else "big"

    def page(self, time: int, events: list[tuple[int, bytes]], lost: int | None = None) -> bytes:
        """A sub-buffer: (time since the one before, record); ``lost`` -1: without a number."""
        data = b""
        for since, body in events:
            delta = since if since < 1 << 27 else 0
            if since >= 1 << 27:
                data += self._word(30, since & (1 << 27) - 1) + self.number(since >> 27, 4)
            if len(body) > 112:
                data += self._word(0, delta) + self.number(len(body) + 4, 4) + body
            else:
                data += self._word(len(body) // 4, delta) + body
        commit = len(data)
        if lost is not None:
            commit |= 1 << 31
            if lost >= 0:
                commit |= 1 << 30
                data += self.number(lost, self.long)
        head = self.number(time, 8) + self.number(commit, self.long)
        return (head + data).ljust(self.page_size, b"\0")

    def _word(self, kind: int, delta: int) -> bytes:
        return self.number(kind | delta << 5 if self.order == "<" else kind << 27 | delta, 4)

    # Parts of the file

    def headers(self) -> bytes:
        page = (
            "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
            f"\tfield: local_t commit;\toffset:8;\tsize:{self.long};\tsigned:1;\n"
            "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
            f"\tfield: char data;\toffset:{8 + self.long};\tsize:{self.page_size - 8 - self.long};\tsigned:0;\n"
        ).encode()
        event_ = EVENT_HEADER.encode()
        return (
            b"header_page\0"
            + self.number(len(page), 8)
            + page
            + b"header_event\0"
            + self.number(len(event_), 8)
            + event_
        )

    def events(self) -> bytes:
        systems = formats(self.long)
        made = self.number(len(systems), 4)
        for name, texts in systems.items():
            made += name.encode() + b"\0" + self.number(len(texts), 4)
            made += b"".join(self.number(len(t), 8) + t for t in texts)
        return made

    def start(self) -> bytes:
        return MAGIC + b"%d\0" % self.version + bytes([self.order == ">", self.long]) + self.number(self.page_size, 4)

    def option(self, number: int, data: bytes) -> bytes:
        return self.number(number, 2) + self.number(len(data), 4) + data

    def file(self) -> bytes:
        return self._six() if self.version == 6 else self._seven()

    def _six(self) -> bytes:
        made = self.start() + self.headers() + self.number(0, 4) + self.events()
        made += self.number(0, 4) + self.number(0, 4) + self.number(len(self.commands), 8) + self.commands
        cpus = len(next(iter(self.pages.values())))
        made += self.number(cpus, 4) + b"options  \0"
        rest = [n for n in self.pages if n]
        plain = b"".join(self.option(n, d) for n, d in self.options)
        size = len(made) + len(plain) + sum(6 + 8 + len(n) + 1 for n in rest) + 2
        tables, data = [], b""
        at = size + (10 + 16 * cpus) * len(self.pages)
        at += -at % self.page_size
        begin = at
        for pages in self.pages.values():
            table = b"flyrecord\0"
            for raw in pages:
                table += self.number(at, 8) + self.number(len(raw), 8)
                data += raw
                at += len(raw)
            tables.append(table)
        for k, name in enumerate(rest, 1):
            place = self.number(size + k * len(tables[0]), 8)
            plain += self.option(3, place + name.encode() + b"\0")
        made += plain + self.number(0, 2) + b"".join(tables)
        return made.ljust(begin, b"\0") + data

    def pack(self, data: bytes) -> bytes:
        if self.compression == "zlib":
            return zlib.compress(data)
        if self.compression == "zstd":
            return bytes(pa.Codec("zstd").compress(data, asbytes=True))
        return data  # by something that nobody knows

    def section(self, number: int, data: bytes, packed: bool = True) -> bytes:
        packed = packed and self.compression != "none"
        if packed:
            small = self.pack(data)
            data = self.number(len(small), 4) + self.number(len(data), 4) + small
        return (
            self.number(number, 2) + self.number(int(packed), 2) + self.number(0, 4) + self.number(len(data), 8) + data
        )

    def _seven(self) -> bytes:
        made = self.start() + self.compression.encode() + b"\0" + b"1.0\0"
        hole, made = len(made), made + bytes(8)
        options = b"".join(self.option(n, d) for n, d in self.options)
        commands = self.number(len(self.commands), 8) + self.commands
        for number, data in ((16, self.headers()), (17, self.number(0, 4)), (18, self.events()), (21, commands)):
            options += self.option(number, self.number(len(made), 8))
            made += self.section(number, data)
        for name, pages in self.pages.items():
            at = len(made)
            packed = self.compression != "none"
            data, cpus = b"", []
            begin = at + 16 + -(at + 16) % self.page_size
            for cpu, raw in enumerate(pages):
                piece = self._chunks(raw) if packed else raw
                cpus.append(self.number(cpu, 4) + self.number(begin + len(data), 8) + self.number(len(piece), 8))
                data += piece
            data = bytes(begin - at - 16) + data
            made += (
                self.number(3, 2) + self.number(int(packed), 2) + self.number(0, 4) + self.number(len(data), 8) + data
            )
            head = self.number(at, 8) + name.encode() + b"\0local\0" + self.number(self.page_size, 4)
            options += self.option(3, head + self.number(len(cpus), 4) + b"".join(cpus))
        options += self.option(0, bytes(8))
        place = self.number(len(made), 8)
        return made[:hole] + place + made[hole + 8 :] + self.section(0, options, packed=False)

    def _chunks(self, raw: bytes) -> bytes:
        step = 2 * self.page_size
        chunks = [raw[i : i + step] for i in range(0, len(raw), step)]
        packed = [(self.pack(c), len(c)) for c in chunks]
        return self.number(len(chunks), 4) + b"".join(self.number(len(p), 4) + self.number(n, 4) + p for p, n in packed)


def calls(made: Made, time: int, tid: int, count: int, lost: int | None = None, ret: int = 11) -> bytes:
    """A sub-buffer of read() entering and leaving, 100 ns apart."""
    records = [
        made.record(ENTER, tid, 0, 3, 0x7F00, k, 0, 0, 0) if k % 2 == 0 else made.record(EXIT, tid, 0, ret)
        for k in range(count)
    ]
    return made.page(time, [(100, r) for r in records], lost)
