"""systrace's pages, and what ``atrace -z`` writes: ftrace's text within HTML, or packed behind the line ``TRACE:``.

A page has blocks of data (``<script class="trace-data">``): one with the ftrace text, and others, which are passed over
(lists of processes, Chrome's events). Old pages have the text in a string of JavaScript, each line ending in ``\\n\\``;
JSON may hold it as the string ``systemTraceEvents``. The text goes through ftrace's reader by way of a temporary file
in which everything else is blank, so that a line has the number that it has in the page (of a string in JSON, the lines
are counted on from its own).
"""

from __future__ import annotations

import re
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from tracemend.errors import TraceError
from tracemend.formats import ftrace
from tracemend.formats.base import Builder, Format, Options
from tracemend.formats.endings import BREAKS_OFF
from tracemend.formats.text import CHUNK, UNPACKING, chunks, open_binary, read_head
from tracemend.trace.events import Trace

PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html)\b", re.I)
#: What pages of systrace say of themselves at their beginning; a page without it is somebody else's.
VIEWER = re.compile(rb"trace-viewer|trace_viewer|systrace|catapult|trace-data|linuxPerfData|Android System Trace", re.I)
PACKED = re.compile(rb"(?:^|\n)TRACE:\r?\n(?=\x78[\x01\x5e\x9c\xda])")
#: So many bytes may stand in front of packed text.
PREAMBLE = 1 << 12
BLOCK = re.compile(rb"<script\b[^>]{0,200}\btrace-data\b[^>]{0,200}>|\blinuxPerfData\s*=\s*\"(?=\\\r?\n)")
STRING = re.compile(rb'"systemTraceEvents"\s*:\s*"')
#: The end of a string of JavaScript or JSON, and what is escaped in it.
CLOSED = re.compile(rb'(?:[^"\\]++|\\.)*+', re.S)
HALF = re.compile(rb"(?<!\\)(?:\\\\)*\\u[0-9a-fA-F]{0,3}\Z")
ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{4}|.)", re.S)
ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f"}
#: How a line ends in a string of JavaScript, and the line that old pages put behind the trace.
LINE_END, DUMMY = b"\\n\\\n", b"dummy-0000 "
#: A line is read in pieces of this size; no pattern is longer than the overlap.
PIECE, OVERLAP = 1 << 18, 512
#: So much of a block is looked at to see whether it is ftrace's text.
LOOKED_AT = 1 << 14


def recognise(head: bytes) -> bool:
    """Whether it is a page of systrace, or packed text of atrace."""
    if PAGE.match(head):
        return VIEWER.search(head) is not None
    return PACKED.search(head, 0, PREAMBLE) is not None


def read(path: Path, options: Options) -> Trace:
    """Read the ftrace text in it; raises TraceError."""
    builder = Builder(path, "systrace", options)
    head = read_head(path, PREAMBLE)
    packed = None if PAGE.match(head) else PACKED.search(head)
    with tempfile.TemporaryDirectory(prefix="tracemend-") as folder:
        text = Path(folder) / "text"
        try:
            with open_binary(path) as page, open(text, "wb") as out:
                if packed:
                    out.write(b"\n" * page.read(packed.end()).count(b"\n"))
                    _unpack(page, out, builder)
                elif not _extract(page, out):
                    raise TraceError(path, 0, "a web page (HTML) without ftrace's text in it")
            clock = ftrace.fill(builder, chunks(text))
        except UNPACKING as e:
            raise TraceError(path, 0, f"can't unpack it: {e}") from e
        except TraceError as e:  # the user knows only the file that the text was in
            raise TraceError(path, e.line, e.message) from None
    return builder.finish(clock)


def _extract(page: IO[bytes], out: IO[bytes]) -> bool:
    """Write the text that is in the page; whether there is any."""
    found, block, carry = False, None, b""
    while piece := page.readline(PIECE):
        ended = piece.endswith(b"\n")
        if block is None:
            piece = carry + piece
            start = BLOCK.search(piece)
            if start is None:
                carry = b"" if ended else piece[-OVERLAP:]
                out.write(b"\n" * ended)
                continue
            block, piece, carry = _Block(out, quoted=start[0].endswith(b'"')), piece[start.end() :], b""
        stop = piece.find(b"</script")
        block.take(piece if stop < 0 else piece[:stop])
        if stop >= 0:
            found |= block.close()
            block = None
            out.write(b"\n" * ended)
    return found | (block is not None and block.close())


def _unpack(packed: IO[bytes], out: IO[bytes], builder: Builder) -> None:
    """Write what zlib packed; what is in front of damage is kept."""
    unpacking = zlib.decompressobj()
    try:
        while not unpacking.eof and (data := unpacking.unconsumed_tail or packed.read(CHUNK)):
            out.write(unpacking.decompress(data, CHUNK))
    except zlib.error as e:
        builder.bad(0, f"can't unpack it to its end: {e}")
        builder.doubts.append(BREAKS_OFF)
        return
    out.write(unpacking.flush())
    if not unpacking.eof:
        builder.bad(0, "the packed text is cut short")
        builder.doubts.append(BREAKS_OFF)


class _Block:
    """One block of a page; whether it is text, JSON or something else shows when enough of it was seen."""

    def __init__(self, out: IO[bytes], quoted: bool) -> None:
        self.out, self.quoted = out, quoted
        self.held = b""
        self.put: Callable[[bytes], None] | None = None
        self.found = False

    def take(self, piece: bytes) -> None:
        """Take in a line, or a piece of one."""
        if self.put is not None:
            self.put(piece)
            return
        self.held += piece
        if len(self.held) >= LOOKED_AT:
            self._decide()

    def close(self) -> bool:
        """Write what is left; whether there was any text."""
        if self.put is None:
            self._decide()
        return self.found

    def _decide(self) -> None:
        held, self.held = self.held, b""
        if held.lstrip()[:1] in (b"{", b"["):
            self.put = self._search
        elif self.quoted or ftrace.recognise(held.replace(LINE_END, b"\n")):
            self.put, self.found = self._text, True
        else:
            self.put = self._blank
        for line in held.splitlines(keepends=True):
            self.put(line)

    def _blank(self, piece: bytes) -> None:
        self.out.write(b"\n" * piece.count(b"\n"))

    def _text(self, line: bytes) -> None:
        dummy = line.lstrip().startswith(DUMMY) or line.strip() == b"\\"
        if not self.quoted or line.endswith(LINE_END) or line.strip() == b"\\":
            text = line.replace(LINE_END, b"\n")
        else:  # the string ends here, and other script follows
            text = line.rstrip().removesuffix(b";").removesuffix(b'"').removesuffix(b"\\n") + b"\n"
            self.put = self._blank
        self.out.write(b"\n" if dummy else text)

    def _search(self, piece: bytes) -> None:
        """Look in JSON for the string that has the text."""
        piece = self.held + piece
        start = STRING.search(piece)
        if start is None:
            self._blank(piece)
            self.held = piece[-OVERLAP:].replace(b"\n", b" ")
            return
        self.found, self.held, self.put = True, b"", self._string
        self._string(piece[start.end() :])

    def _string(self, piece: bytes) -> None:
        piece = self.held + piece
        end = CLOSED.match(piece).end()  # type: ignore[union-attr]
        cut = None if end < len(piece) and piece[end:].startswith(b'"') else HALF.search(piece, max(0, end - 64), end)
        end = cut.start() if cut else end
        self.out.write(ESCAPE.sub(lambda m: _unescaped(m[1]), piece[:end]))
        self.held = piece[end:]
        if self.held.startswith(b'"'):
            self.put = self._blank


def _unescaped(word: bytes) -> bytes:
    if len(word) == 5:
        return chr(int(word[1:], 16)).encode("utf-8", "replace")
    return ESCAPED.get(word, word)


TITLE = "systrace (pages of HTML, atrace -z)"
FORMAT = Format("systrace", TITLE, recognise, read, ftrace.EVIDENCE, "atrace", in_pieces=True)
