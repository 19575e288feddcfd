"""What a file that can't be read seems to be, so that its refusal says so: by magic numbers and by telling lines."""

from __future__ import annotations

import re

from tracemend.formats.perf import WITHOUT_TIMES

MAGIC = {
    b"\x7fELF": "a program or a library (ELF)",
    b"\xff\xfe": "text in UTF-16: save it as UTF-8",
    b"\xfe\xff": "text in UTF-16: save it as UTF-8",
    b"\xd4\xc3\xb2\xa1": "captured packets (pcap)",
    b"\xa1\xb2\xc3\xd4": "captured packets (pcap)",
    b"\x4d\x3c\xb2\xa1": "captured packets (pcap)",
    b"\xa1\xb2\x3c\x4d": "captured packets (pcap)",
    b"\x0a\x0d\x0d\x0a": "captured packets (pcapng)",
    b"PK\x03\x04": "a zip archive: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"\x04\x22\x4d\x18": "packed with lz4: unpack it first",
    b"SQLite format 3\0": "a database (SQLite)",
    b"\x89PNG": "an image (PNG)",
    b"%PDF": "a document (PDF)",
}
#: Tracers of calls whose lines are like strace's, by what only they write.
CALLS = {
    "ltrace output: library calls, no system calls": re.compile(
        rb"= <void>$|\+\+\+ exited \(status -?\d+\) \+\+\+|^(?:\[pid \d+\] |\d+ )?(?:\w+@(?:SYS|lib[\w.+-]+)|"
        rb"lib[\w.+-]+->\w+|\w+->\w+)\(|__libc_start_main\(",
        re.MULTILINE,
    ),
    "dtruss output, of DTrace": re.compile(rb"SYSCALL\(args\)|\)\t\t = -?\w+ (?:Err#)?\d+\s*$|^dtrace: ", re.MULTILINE),
    "truss output, of another system than Linux": re.compile(
        rb"\)[ \t]+(?:= -?\d+ \(0x[\da-f]+\)|(?:= -1 )?(?:Err|ERR)#\d+ .*)$", re.MULTILINE
    ),
    "kdump output, of BSD's ktrace": re.compile(
        rb"^ *\d+(?: \d+)? [^:\s]+ +(?:CALL +\w+\(|RET +\w+ |NAMI +\")", re.MULTILINE
    ),
}
#: Other text, by a line of it; the more telling first.
LINES = {
    "a merged file of tracemend, without an event of the original": re.compile(rb"\A# tracemend merged:"),
    "the summary of strace -c: counts of calls, no calls": re.compile(
        rb"^% time +seconds +usecs/call +calls", re.MULTILINE
    ),
    "a histogram of ftrace: counts of events, no events": re.compile(rb"^# event histogram", re.MULTILINE),
    "perf report: shares of samples, no samples": re.compile(rb"^# Overhead  |^# Samples: \S+ +of event", re.MULTILINE),
    WITHOUT_TIMES: re.compile(
        rb"^ *[^\s#:][^:]{0,40} +\d+(?:/\d+)? +"
        rb"(?:(?:\[\d{3}\] +(?:\d+ +)?|\d+ +)[a-z][\w-]*(?::[\w-]+)*|[a-z]\w*:\w+): ",
        re.MULTILINE,
    ),
    "a trace of Chrome or Perfetto in JSON": re.compile(rb"\A\s*[\[{].*\"(?:traceEvents|ph)\" ?:", re.DOTALL),
    "the kernel's log (dmesg)": re.compile(rb"\A\[ *\d+\.\d{6}\] "),
    "JSON": re.compile(rb"\A\s*[\[{]\s*[\"\[{\d]"),
    "a web page (HTML)": re.compile(rb"\A\s*<(?:!doctype html|html)", re.IGNORECASE),
    "XML": re.compile(rb"\A\s*<\?xml"),
    "folded stacks: counts of samples, no samples": re.compile(rb"\A(?:[^\n;]+;)+[^\n;]+ \d+\n"),
    "a table (CSV)": re.compile(rb"\A(?:[^\n,]+,)+[^\n,]+\n(?:[^\n,]*,)+[^\n,]*\n"),
}


def rival(head: bytes) -> str:
    """Which other tracer of calls wrote what is like strace's text; empty if none did."""
    return next((what for what, pattern in CALLS.items() if pattern.search(head)), "")


def looks_like(head: bytes) -> str:
    """What a file with this beginning is, in a few words; empty if nothing tells."""
    if magic := next((what for magic, what in MAGIC.items() if head.startswith(magic)), ""):
        return magic
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    if b"\0" in head:
        return "text in UTF-16: save it as UTF-8" if _utf_16(head) else "a binary file"
    what = rival(head) or next((what for what, pattern in LINES.items() if pattern.search(head)), "")
    return what or ("plain text" if _prose(head) else "")


def _utf_16(head: bytes) -> bool:
    """Whether every second byte is zero, as in Latin text without a mark of its byte order."""
    return any(half and not half.strip(b"\0") for half in (head[:512:2], head[1:512:2]))


def _prose(head: bytes) -> bool:
    """Whether half of the words are letters alone, but for what may follow one in a sentence."""
    words = head[:4096].split()
    plain = sum(w.rstrip(b".,;:!?)").lstrip(b"(").isalpha() for w in words)
    return len(words) >= 8 and 2 * plain >= len(words)
