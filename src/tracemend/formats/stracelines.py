"""One line of strace's: what stands in front of a call, how a call ends, and the time it tells."""

from __future__ import annotations

import re
from functools import cache

from tracemend.formats.rows import DAY_NS, nanoseconds
from tracemend.trace.syscalls import all_names

#: What stands in front of a call: the process and its command (``--decode-pids=comm``), its security context, the time,
#: and with ``-i`` and ``-n`` the address and the number.
HEAD = re.compile(
    rb"(?:\[pid +(?P<pid>\d{1,9})(?:<(?P<own>[^>]*)>)?\] +|(?P<column>\d{1,9})(?:<(?P<comm>[^>]*)>)? +)?"
    rb"(?:\[\w[^\]]*\] (?=[\d:.]+ ))?"
    rb"(?:\s*(?:(?P<clock>\d\d:\d\d:\d\d)(?P<part>\.\d{1,9})?|(?P<seconds>\d{1,10}(?:\.\d{1,9})?)) )?"
    rb"(?:\[[^\]]{1,200}\] )*"
)
CALL = re.compile(
    rb" *(?:(?P<name>[A-Za-z_]\w*|\?\?\?)\(|<\.\.\. (?P<resumed>[A-Za-z_]\w*|\?\?\?) resumed>)(?P<rest>.*)"
)
#: The end of a call that is over: the last closing parenthesis, an equals sign, the result, the time it took.
RETURN = rb"\)\s+= (?P<ret>\S.*?)(?: <(?P<took>\d{1,9}\.\d{1,9})>)?$"
RESULT, RETURNED = re.compile(rb"(?P<args>.*)" + RETURN), re.compile(RETURN)
#: What may look like that end and isn't: strings, and the paths of ``-y`` behind a descriptor.
QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?$)|(?<=[\dD])<(?!<)[^>]*+(?:>|$)|(?P<end>\)\s+= )')
END = re.compile(rb"\)\s+= ")
UNFINISHED = re.compile(rb"<(?:unfinished|detached) \.\.\.>(?:\)?\s+= \?)?$")
#: Signals, deaths, strace's own words, stack frames of ``-k``, dumps of ``-e read`` and ``-e write``, the tables of
#: ``-c`` and ``-C``, the pictures around ``--tips``, blank lines.
SILENT = re.compile(
    rb" *+(?:---.*---|\+\+\+.*\+\+\+|(?:/\S+/)?strace: .*|Process \d+ .*|\[ ?Process PID=.*\]|> .*|#.*"
    rb"|\| [0-9a-f]{5,16}  .*\||\* \d+ bytes in buffer \d+|% time +seconds .*|-{5,}+(?: +-{5,}+)+"
    rb"|\d+\.\d\d +\d+\.\d{6} .*|System call usage summary.*|(?<=  )[_|/\\{].*[\\|/_\[\]()}\".-] *)?$"
)
ATTACHED = re.compile(rb"Process (?P<pid>\d{1,9}) (?P<how>attached|detached)(?: with \d+ threads)?(?: \(.{0,80}\))?$")
#: Who says so, at the end of what stands in front.
SAYING = re.compile(rb"(?:/(?:[\w.-]+/)*)?strace: $")
EXECS = (b"execve", b"execveat")
#: A result of these is none: the call didn't return.
NO_RESULT = (b"?", b"? <unavailable>")

#: Seconds below this are no date (it was 1973): they are ``-r``'s distances.
EARLIEST_DATE = 100_000_000
LATEST_NS = (1 << 63) - 1 - 1_000_000_000 * 1_000_000_000  # a duration has nine digits of seconds


@cache
def _names() -> frozenset[bytes]:
    return frozenset(n.encode() for n in all_names())


def known(name: bytes) -> bool:
    """Whether a call can have this name; otherwise the traced program's own words may stand in front of it."""
    if name in _names() or name.startswith((b"syscall_", b"SYS_", b"osf_")) or name == b"???":
        return True
    return name.removeprefix(b"old").removeprefix(b"_") in _names()


def attached(text: bytes) -> tuple[int, bool, bytes] | None:
    """The process that strace attached or (False) let go, and what it broke off in front of that; None otherwise."""
    at = text.rfind(b"Process ") if text.endswith((b"tached", b"threads", b")")) else -1
    said = ATTACHED.match(text, at) if at >= 0 else None
    if said is None:
        return None
    saying = SAYING.search(text, max(0, at - 256), at)
    return int(said["pid"]), said["how"] == b"attached", text[: saying.start() if saying else at].strip()


def over(rest: bytes) -> tuple[bytes, bytes, bytes | None] | None:
    """Arguments, result and duration of a call that is over, None of one that isn't."""
    result = RESULT.match(rest)
    if result is None:
        return None
    args, ret, took = result.groups()
    if b") " in args and END.search(args):  # more than one place looks like the end
        end = next((m.start() for m in QUOTED.finditer(rest) if m["end"]), None)
        first = None if end is None else RETURNED.match(rest, end)
        if first:
            args, (ret, took) = rest[:end], first.groups()
    return args, ret, took


class Clock:
    """strace's four ways to tell the time, as nanoseconds that never jump over midnight. None: no time at all."""

    def __init__(self) -> None:
        self.now = 0
        self.days = 0
        self.of_day = 0

    def read(self, head: re.Match[bytes]) -> int | None:
        clock, part, told = head.group("clock", "part", "seconds")
        if clock:
            hours, minutes, seconds = clock.split(b":")
            of_day = nanoseconds(b"%d%s" % (int(hours) * 3600 + int(minutes) * 60 + int(seconds), part or b""))
            self.days += of_day < self.of_day - DAY_NS // 2
            self.days -= of_day > self.of_day + DAY_NS // 2 and self.days > 0  # -z: a line from before midnight
            self.of_day = of_day
            self.now = self.days * DAY_NS + of_day
        elif told:
            time = nanoseconds(told)
            self.now = time if time >= EARLIEST_DATE * 1_000_000_000 else self.now + time
        else:
            return None
        return self.now
