"""ftrace through tracefs: instances that vanish whatever happens, and a command that waits until it is traced.

Takes root. Instances carry the recorder's process id in their name; what a killed recorder left behind is removed at
the next start.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracemend.errors import TracemendError

TRACEFS = Path("/sys/kernel/tracing")
PREFIX = "tracemend-"
#: What ``--events`` takes: tracepoints, or whole groups of them, by their folders under ``events``.
EVENTS: dict[str, tuple[str, ...]] = {
    "raw": ("raw_syscalls/sys_enter", "raw_syscalls/sys_exit"),
    "syscalls": ("syscalls",),
    "sched": (
        "raw_syscalls/sys_enter",
        "raw_syscalls/sys_exit",
        "sched/sched_switch",
        "sched/sched_wakeup",
        "sched/sched_wakeup_new",
        "sched/sched_process_fork",
        "sched/sched_process_exec",
        "sched/sched_process_exit",
    ),
}
EVENTS["kernel"] = EVENTS["sched"]
#: And what is recorded besides where the kernel has it; a star stands for any letters.
WHERE_THERE: dict[str, tuple[str, ...]] = {
    "kernel": (
        "sched/sched_waking",
        "sched/sched_migrate_task",
        "irq/irq_handler_*",
        "irq/softirq_*",
        "timer/timer_expire_*",
        "timer/hrtimer_expire_*",
        "block/block_rq_*",
        "net/net_dev_*",
        "power/cpu_idle",
        "exceptions/page_fault_*",
    )
}
#: Events that a thread has so many of that the recorder's own are left out when the whole machine is recorded.
OWN = ("raw_syscalls", "syscalls", "exceptions")
#: How many threads' names the kernel keeps for the text (its default of 128 forgets short-lived ones).
NAMES_KEPT = 16384


class RecordError(TracemendError):
    """Recording isn't possible here, or what was recorded doesn't hold together."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events (a key of ``EVENTS``), and of whom: the whole machine, or a command and its descendants alone.

    Of a command's threads alone a cpu has no story: who ran before and after them, and what interrupted the others, is
    missing.
    """

    events: str = "raw"
    machine: bool = False

    @classmethod
    def of(cls, events: str | Wanted) -> Wanted:
        """A name alone means the command's own events, but ``kernel`` the machine's."""
        return events if isinstance(events, Wanted) else cls(events, events == "kernel")

    def tracepoints(self) -> tuple[list[str], list[str]]:
        """By their folders under tracefs' ``events``, and those (or kinds of them) that this kernel doesn't have."""
        found, absent = list(EVENTS[self.events]), []
        for pattern in WHERE_THERE.get(self.events, ()):
            paths = sorted((TRACEFS / "events").glob(f"{pattern}/enable"))
            found += [str(p.parent.relative_to(TRACEFS / "events")) for p in paths]
            absent += [] if paths else [pattern.partition("/")[2]]
        return found, absent


def available(events: str = "raw") -> str:
    """Why ftrace can't record here; empty if it can."""
    if os.geteuid() != 0:
        return "ftrace takes root"
    if not (TRACEFS / "trace").exists():
        return f"no tracefs on {TRACEFS} (mount -t tracefs nodev {TRACEFS})"
    if not os.access(TRACEFS / "instances", os.W_OK):
        return f"{TRACEFS} isn't writable, even for root (lockdown?)"
    missing = [e for e in EVENTS[events] if not (TRACEFS / "events" / e / "enable").exists()]
    if missing:
        return f"this kernel has no tracepoint {missing[0]} (CONFIG_FTRACE_SYSCALLS)"
    return ""


class Instance:
    """One ftrace instance: its own buffers, events and options. Use as a context manager; leaving removes it.

    buffer_kb: KiB a cpu. overwrite: a full buffer loses its oldest events, else the newest. Only the process ``pid``
    and its descendants are recorded, unless the whole machine is wanted. Raises RecordError where the kernel refuses.
    """

    def __init__(
        self, label: str, buffer_kb: int, *, events: str | Wanted = "raw", overwrite: bool = True, pid: int
    ) -> None:
        self.wanted = Wanted.of(events)
        self.path = TRACEFS / "instances" / f"{PREFIX}{os.getpid()}-{label}"
        self._fds: dict[int, int] = {}
        self.recorder_threads: list[int] = []
        try:
            self.path.mkdir()
        except OSError as e:
            raise RecordError(f"{self.path}: can't make an ftrace instance: {e.strerror}") from e
        except BaseException:  # a signal that ends us often comes meanwhile: the kernel takes its time for it
            remove_instance(self.path)
            raise
        try:
            self.set("tracing_on", 0)
            self.set("trace_clock", "mono")
            self.set("buffer_size_kb", buffer_kb)
            self.set("options/overwrite", int(overwrite))
            if (self.path / "options/record-tgid").exists():  # Linux 4.14
                self.set("options/record-tgid", 1)
            if not self.wanted.machine:
                self.set("options/event-fork", 1)
                self.set("set_event_pid", pid)
            for event in self.wanted.tracepoints()[0]:
                self.set(f"events/{event}/enable", 1)
            self.page_size = _page_size(self.path)
            self.cpus = sorted(int(p.name[3:]) for p in self.path.glob("per_cpu/cpu*"))
            for cpu in self.cpus:
                pipe = self.path / "per_cpu" / f"cpu{cpu}" / "trace_pipe_raw"
                self._fds[cpu] = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except BaseException as e:
            self.close()
            if isinstance(e, OSError):
                raise RecordError(f"{self.path}: ftrace refuses: {e}") from e
            raise

    def set(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))

    def leave_out(self, threads: Iterable[int]) -> None:
        """Don't record these threads' ``OWN``, which would fill a recording of the machine; their switches stay."""
        self.recorder_threads = list(threads)
        if not self.wanted.machine:
            return
        condition = " && ".join(f"common_pid != {t}" for t in self.recorder_threads)
        for group in OWN:
            if any(e.startswith(group) for e in self.wanted.tracepoints()[0]):
                self.set(f"events/{group}/filter", condition)

    def page(self, cpu: int) -> bytes:
        """The next sub-buffer of a cpu, whole, its header first; empty if nothing is there."""
        try:
            return os.read(self._fds[cpu], self.page_size)
        except BlockingIOError:
            return b""

    def statistics(self) -> dict[str, int]:
        """The counters of ``per_cpu/cpuN/stats``, summed over the cpus."""
        total: dict[str, int] = {}
        for path in self.path.glob("per_cpu/cpu*/stats"):
            for name, value in re.findall(r"^([a-z ]+): (\d+)$", path.read_text(), re.M):
                total[name] = total.get(name, 0) + int(value)
        return total

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds = {}
        remove_instance(self.path)

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _page_size(instance: Path) -> int:
    """Bytes of a sub-buffer; kernels before 6.8 can't change it and don't say."""
    try:
        return int((instance / "buffer_subbuf_size_kb").read_text()) << 10
    except FileNotFoundError:
        return os.sysconf("SC_PAGE_SIZE")


def remove_instance(path: Path) -> None:
    """Remove an instance; a reader that is just closing can keep it busy for a moment."""
    with contextlib.suppress(OSError):
        (path / "events" / "enable").write_text("0")
    for _ in range(100):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.02)
        else:
            return


def remove_stale() -> None:
    """Remove the instances of recorders that are no longer alive."""
    for path in (TRACEFS / "instances").glob(f"{PREFIX}*"):
        pid = path.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            remove_instance(path)


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """Let the kernel remember the names of more threads for a while; its setting is put back."""
    path = TRACEFS / "saved_cmdlines_size"
    old = path.read_text().strip()
    path.write_text(str(max(NAMES_KEPT, int(old))))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.write_text(old)


def thread_processes() -> dict[int, int]:
    """Which process each thread was last seen in by an instance; empty where the kernel doesn't keep that."""
    try:
        pairs = (line.split() for line in (TRACEFS / "saved_tgids").read_text().splitlines())
    except OSError:
        return {}
    return {int(pair[0]): int(pair[1]) for pair in pairs if len(pair) == 2}


def thread_names() -> dict[int, str]:
    """Thread id to the last name that the kernel saw, of those it still remembers; in the words of its own text."""
    names = {0: "<idle>"}
    for line in (TRACEFS / "saved_cmdlines").read_text(errors="replace").splitlines():
        tid, _, name = line.partition(" ")
        if tid.isdigit():
            names[int(tid)] = name
    return names


@contextlib.contextmanager
def held(
    command: Sequence[str], *, cwd: Path | None = None, quiet: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], None]]]:
    """A process that waits just before it becomes ``command``, and the function that lets it go on.

    It keeps the recorder's terminal, or reads and writes nothing if ``quiet``. What is left of it in the end is killed,
    when it is quiet with all its group; a command on a terminal may leave a daemon behind, as it would without us. If
    the recorder dies first, the process ends without becoming anything. Raises RecordError for a command that isn't
    there.
    """
    if not command or shutil.which(command[0]) is None:
        raise RecordError(f"{' '.join(command[:1]) or 'no command'}: no such command")
    waits, goes = os.pipe()  # neither is inherited: the process opens the reading end anew, whatever its number
    null = subprocess.DEVNULL if quiet else None
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f'read -r go < /proc/{os.getpid()}/fd/{waits} && exec "$@"', "sh", *command],
            cwd=cwd,
            stdin=null,
            stdout=null,
            stderr=null,
            start_new_session=quiet,
        )
        try:
            yield process, lambda: _write_line(goes)
        finally:
            if quiet:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
            process.wait()
    finally:
        os.close(waits)
        os.close(goes)


def _write_line(pipe: int) -> None:
    os.write(pipe, b"\n")
