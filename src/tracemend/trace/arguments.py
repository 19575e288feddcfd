"""The argument of a system call that says most of what it is about: a file descriptor, an operation, a signal.

Axis legend: R rows, U distinct texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracemend.trace.fields import parsed

Ints = NDArray[np.int64]

#: By its name in the kernel and its place among the arguments, the calls that it is the key of.
_CALLS = {
    (
        "fd",
        0,
    ): "read write pread64 pwrite64 readv writev close fstat newfstat lseek ioctl fcntl getdents64 fsync "
    "fdatasync ftruncate fallocate fadvise64 flock fchmod fchown sendto recvfrom sendmsg recvmsg setsockopt getsockopt "
    "connect bind listen accept accept4 shutdown getsockname getpeername",
    ("epfd", 0): "epoll_wait epoll_pwait epoll_ctl",
    ("dfd", 0): "openat newfstatat statx unlinkat readlinkat faccessat faccessat2 mkdirat",
    ("oldfd", 0): "dup2 dup3",
    ("fildes", 0): "dup",
    ("out_fd", 0): "sendfile",
    ("ufd", 0): "timerfd_settime timerfd_gettime",
    ("prot", 2): "mmap mprotect",
    ("behavior", 2): "madvise",
    ("op", 1): "futex",
    ("how", 0): "rt_sigprocmask",
    ("sig", 0): "rt_sigaction",
    ("sig", 1): "kill",
    ("sig", 2): "tgkill",
    ("option", 0): "prctl arch_prctl",
    ("resource", 1): "prlimit64",
    ("family", 0): "socket",
    ("which_clock", 0): "clock_gettime clock_nanosleep",
    ("mode", 1): "access",
    ("flags", 1): "pipe2",
    ("options", 2): "wait4",
    ("clone_flags", 0): "clone",
    ("error_code", 0): "exit exit_group",
}
#: The name and the place of each call's key.
KEYS = {call: key for key, calls in _CALLS.items() for call in calls.split()}


def keys(calls: Iterable[str]) -> dict[tuple[str, int], set[str]]:
    """Which of some calls have which key."""
    found: dict[tuple[str, int], set[str]] = {}
    for call in calls:
        if call in KEYS:
            found.setdefault(KEYS[call], set()).add(call)
    return found


def key_texts(args: pa.StringArray, key: tuple[str, int]) -> pa.StringArray:
    """The key of calls whose arguments (R,) are given, as a decimal number where it is one; null where it isn't told.

    Arguments with their names are found by it, and six bare hexadecimal numbers (as of ``raw_syscalls``) by the place.
    """
    import pyarrow.compute as pc

    name, place = key
    others = rf"^(?:[0-9a-f]{{1,16}}, ){{{place}}}(?P<bare>[0-9a-f]{{1,16}})(?:, [0-9a-f]{{1,16}}){{{5 - place}}}$"
    groups = pc.extract_regex(args, others)
    bare = pc.if_else(groups.is_valid(), groups.field("bare"), None)
    named = pa.nulls(len(args), pa.string())
    if bare.null_count:
        named = parsed("", pc.if_else(groups.is_valid(), None, args), (name,))[name]
    found = []
    for texts, base in ((bare, 16), (named, 0)):
        coded = texts.dictionary_encode()
        spelt = [_decimal(text, base) for text in coded.dictionary.to_pylist()]
        found.append(pa.array(spelt, pa.string()).take(coded.indices))
    return pc.coalesce(*found)


def _decimal(text: str, base: int) -> str:
    """A number of 32 bits with its sign, whatever lies above them in the register; other texts as they are."""
    if base == 0 and not re.fullmatch(r"-?(?:0x[0-9a-f]{1,16}|[1-9]\d{0,18}|0)", text):
        return text
    number = int(text, base) & 0xFFFFFFFF
    return str(number - (1 << 32) * (number >> 31))
