"""System-call tables: number to name per architecture, and the names under which tracers show one and the same call."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

DEFAULT_ARCH = "x86_64"

#: The kernel's own function names, which ftrace's ``syscalls`` events show, where they differ from the call's name
#: (fs/stat.c, kernel/sys.c and the like: SYSCALL_DEFINE names against the tables' names).
KERNEL_NAMES = {
    "newuname": "uname",
    "newstat": "stat",
    "newlstat": "lstat",
    "newfstat": "fstat",
    "sendfile64": "sendfile",
    "umount": "umount2",
    "sysctl": "_sysctl",
    "llseek": "_llseek",
    "sched_setaffinity_new": "sched_setaffinity",
    "pread": "pread64",
    "pwrite": "pwrite64",
}

#: Calls that don't pair as others do. After these a thread is gone;
LAST_CALLS = ("exit", "exit_group")
#: after these anything may follow, and what does follow is the exit of no call's number;
SIGNAL_RETURNS = ("rt_sigreturn", "sigreturn")
NO_NUMBER = "syscall_-1"
#: these are left by two threads: the child's first event is an exit without an enter.
FORKS = ("clone", "clone3", "fork", "vfork")

_ONE_DESCRIPTOR = """
open openat openat2 open_by_handle_at creat mq_open memfd_create memfd_secret dup dup2 dup3 pidfd_getfd
socket accept accept4 eventfd eventfd2 epoll_create epoll_create1 timerfd timerfd_create signalfd signalfd4
inotify_init inotify_init1 fanotify_init userfaultfd perf_event_open pidfd_open io_uring_setup
fsopen fsmount fspick open_tree open_tree_attr landlock_create_ruleset spu_create
"""
#: By how many a call that succeeds makes the process's open file descriptors more (section 2 of the manual). Not here,
#: since the call's name doesn't tell: execve and exit, which close some or all; close_range; fcntl's F_DUPFD; messages
#: that bring descriptors along; clone's pidfd; bpf, ioctl and seccomp, which make some at times. dup2 and dup3 close
#: what they are to make, if it is open already: then there is none more.
DESCRIPTORS: dict[str, int] = {
    **dict.fromkeys(_ONE_DESCRIPTOR.split(), 1),
    **dict.fromkeys(("pipe", "pipe2", "socketpair"), 2),
    "close": -1,
}

#: The module of calls that the table of modules doesn't hold.
NO_MODULE = "other"


@cache
def _document() -> dict[str, dict[str, dict[str, int]]]:
    text = Path(__file__).with_name("syscalls.json").read_text()
    document: dict[str, dict[str, dict[str, int]]] = json.loads(text)
    return document


def architectures() -> list[str]:
    """The architectures that have a table."""
    return list(_document()["tables"])


@cache
def table(arch: str = DEFAULT_ARCH) -> dict[int, str]:
    """Number to name; raises KeyError for an architecture without a table."""
    return {number: name for name, number in _document()["tables"][arch].items()}


def call_name(number: int, arch: str = DEFAULT_ARCH) -> str:
    """The call's name, or ``syscall_N`` for a number outside the table."""
    return table(arch).get(number, f"syscall_{number}")


@cache
def all_names() -> tuple[str, ...]:
    """Every call of every architecture, sorted: the universal vocabulary's order."""
    return tuple(sorted({name for arch in architectures() for name in _document()["tables"][arch]}))


def canonical(kernel_name: str) -> str:
    """The table's name of a call that a tracepoint shows under the kernel's function name."""
    return KERNEL_NAMES.get(kernel_name, kernel_name)


@cache
def _modules() -> dict[str, str]:
    """Call to module, by the directory of the Linux sources that defines it (x86's where architectures differ)."""
    document = json.loads(Path(__file__).with_name("modules.json").read_text())
    return {name: module for module, names in document.items() for name in names.split()}


def module(name: str) -> str:
    """The kernel module of a call, as Janecek et al. (2025), RQ4, have it: FS for fs/, MM for mm/, KER for kernel/, AR
    for arch/, NET, IPC, SEC (security/), IOU (io_uring/), BLK (block/), DRV (drivers/); else ``NO_MODULE``."""
    return _modules().get(name, NO_MODULE)
