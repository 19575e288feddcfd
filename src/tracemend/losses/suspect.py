"""Losses that the tracer doesn't mark: ftrace in drop mode (``overwrite=0``) leaves no trace of what it dropped.

What proves them is a thread whose events don't pair: after a call's enter the same thread's next event can only be that
call's exit, after an exit only an enter. Whatever breaks this has something missing between its two events, and the
likeliest place is the longest silence of that cpu's stream in between. So does a cpu whose switches contradict each
other (``switches``).

Once a loss is proven, the buffer itself tells of others, whose threads happen to pair. In drop mode the kernel writes
whole sub-buffers and drops only while no further one is free, so every gap lies where a sub-buffer is full; from the
sizes of raw_syscalls' events those places are known. If the proven gaps lie there, an unusually long silence at another
such place is a suspected gap too. In a trace without a single break nothing is suspected.

Axis legend: B breaks (pairs of a thread's events that can't follow each other), S events of one cpu's stream, whose
slot i lies between events i and i + 1.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tracemend.losses.switches import unchained
from tracemend.trace.events import ENTER, EXIT, INSTANT, Gap, Trace, rows_by, stable_order
from tracemend.trace.syscalls import FORKS, LAST_CALLS, NO_NUMBER, SIGNAL_RETURNS

Ints = NDArray[np.int64]
#: The names of the calls that are open, the innermost last, by whose they are (``owners``).
Stacks = dict[int, list[str]]

EXECS = ("execve", "execveat")
#: Calls after whose enter anything may follow: their thread ends (and its number may come back as a new one), or the
#: exit has another number or belongs to another thread.
WITHOUT_EXIT = (*LAST_CALLS, *SIGNAL_RETURNS, *EXECS)
#: Exits that may follow anything: of the call that made the thread, of the call by which another thread took over
#: this one's number, and of a call that lost its number on the way (by a signal's return or a filter).
WITHOUT_ENTER = (*FORKS, *EXECS, *SIGNAL_RETURNS, NO_NUMBER)

#: Calls of one thread that are open, at most.
DEEPEST = 1 << 12
#: Bytes that raw_syscalls' events take in the ring buffer (enter, exit), and a long pause in front of one.
ENTER_BYTES, EXIT_BYTES, PAUSE_BYTES = 68, 28, 8
PAUSE_NS = 1 << 27
#: Bytes of data in a sub-buffer, less its header: one page, and the sizes that it can be set to.
SUB_BUFFERS = tuple((4096 << k) - 16 for k in range(5))
#: So many proven gaps, and so large a share of them, must lie at the ends of sub-buffers.
PROOFS, PROOF_SHARE = 2, 0.9
#: How rare a silence must be among those between events of the same kind to tell of a gap (as a decimal logarithm:
#: 2 is one in a hundred), how much more than that the rarest can tell, and what a proven gap tells.
RARE, RAREST, PROOF = 2.0, 4.0, 10.0
#: What it tells that a slot is the likeliest for a break.
ODD = 3.0


@dataclass(slots=True)
class _Stream:
    """One cpu's events.

    ``rows`` and ``time_ns`` (S,); per slot (S - 1,) the silence and its kind (the same thread or not, enter or exit on
    either side). ``filled`` (S,): the bytes up to and including each event. ``proven``: slots that hold a gap for
    certain, ``ends``: where a sub-buffer seems to end, ``placed``: slots with a suspected gap, sorted.
    """

    rows: Ints
    time_ns: Ints
    silence_ns: Ints
    kind: Ints
    filled: Ints
    oddness: NDArray[np.float64]
    proven: set[int] = field(default_factory=set)
    ends: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    placed: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, trace: Trace, rows: Ints) -> _Stream:
        time_ns, enters, tid = trace.time_ns[rows], trace.phase[rows] == ENTER, trace.tid[rows]
        silence_ns = np.diff(time_ns)
        kind = (tid[1:] == tid[:-1]) * 4 + enters[:-1] * 2 + enters[1:]
        size = np.where(enters, ENTER_BYTES, EXIT_BYTES)
        size[1:] += PAUSE_BYTES * (silence_ns >= PAUSE_NS)
        return cls(rows, time_ns, silence_ns, kind, np.cumsum(size), np.zeros(len(kind)))

    def evidence(self) -> NDArray[np.float64]:
        """What speaks for a gap in each slot (S - 1,), as a logarithm: its oddness, and how rare its silence is among
        those of its kind elsewhere than at an end.
        """
        rarity = np.zeros(len(self.silence_ns))
        elsewhere = np.ones(len(rarity), bool)
        elsewhere[self.ends] = False
        for kind in np.unique(self.kind):
            alike = self.kind == kind
            usual = np.sort(self.silence_ns[alike & elsewhere])
            longer = len(usual) - np.searchsorted(usual, self.silence_ns[alike])
            rarity[alike] = np.log10((len(usual) + 1) / (longer + 1))
        return np.minimum(rarity, RAREST) + self.oddness

    def divide(self, capacity: int) -> None:
        """Find the likeliest ``ends`` of the sub-buffers of ``capacity`` bytes.

        A sub-buffer ends where the next event doesn't fit. That one may be lost, so it can end at each slot that
        leaves too little room for an enter; before the last of them only if there is a gap. Of all ways to divide the
        stream the one with the rarest silences at such gaps is taken, found from begin to begin (Viterbi's way). A
        proven gap within a sub-buffer costs as much as one at an end brings, and a new one begins behind it.
        """
        n = len(self.filled)
        before = np.append(0, self.filled[:-1])
        full = np.searchsorted(self.filled, before + capacity, side="right")
        tight = np.searchsorted(self.filled, before + capacity - ENTER_BYTES, side="right")
        firsts, lasts = np.minimum(tight, full - 1).tolist(), (full - 1).tolist()
        gain = (self.evidence() - RARE).tolist()
        for slot in self.proven:
            gain[slot] = PROOF
        known = [*sorted(self.proven), n]
        score = np.full(n + 1, -np.inf)
        score[: firsts[0] + 1] = 0.0  # the stream may begin within a sub-buffer
        total, came, best = score.tolist(), [-1] * (n + 1), (-np.inf, 0)
        k = 0
        for begin in range(n):
            here = total[begin]
            if here == -np.inf:
                continue
            while known[k] < begin:
                k += 1
            first, last = firsts[begin], lasts[begin]
            if known[k] < first:
                first = last = known[k]
                here -= 2 * PROOF
            if last >= n - 1:
                best = max(best, (here, begin))
                last = n - 2
            for end in range(first, last + 1):
                then = here + (max(gain[end], 0.0) if end == lasts[begin] else gain[end])
                if then > total[end + 1]:
                    total[end + 1], came[end + 1] = then, begin
        begin, ends = best[1], []
        while came[begin] >= 0:
            ends.append(begin - 1)
            begin = came[begin]
        self.ends = np.array(ends[::-1], np.int64)


@dataclass(frozen=True, slots=True)
class _Break:
    """A pair of events and the slots, from first up to last, in which what is missing between them may lie.

    There is one span of slots for each cpu that the thread was seen on.
    """

    begin_ns: int
    end_ns: int
    cpus: tuple[int, ...]
    spans: tuple[tuple[int, int, int], ...]

    @property
    def room(self) -> int:
        return sum(last - first for _, first, last in self.spans)


def suspect(trace: Trace) -> tuple[Gap, ...]:
    """The gaps that the tracer didn't mark, by time; none where a marked gap explains what is odd.

    Every gap is ``suspected``, without a count, and its ``line`` is that of the event after it.
    """
    pairs, chains = unpaired(trace, Sides.of(trace)), unchained(trace)
    return located(trace, [pairs, chains])


def located(trace: Trace, breaks: Sequence[tuple[Ints, Ints]], begin: int = 0) -> tuple[Gap, ...]:
    """The likeliest gaps for pairs of rows between which something is missing, unless a marked gap explains it.

    begin: the first of the trace's rows that follow each other without a hole; those in front of it are kept of what
    came before, each cpu's last event among them.
    """
    before, after = _unexplained(trace, *(np.concatenate(rows) for rows in zip(*breaks, strict=True)))
    if not len(before):
        return ()
    streams = {
        cpu: _Stream.of(trace, rows[max(0, int(np.searchsorted(rows, begin)) - 1) :])
        for cpu, rows in trace.streams.items()
    }
    rooms = [_room(trace, streams, p, q) for p, q in zip(before.tolist(), after.tolist(), strict=True)]
    rooms.sort(key=lambda b: b.room)
    for b in rooms:
        if b.room == 1 and len(b.cpus) == 1:
            cpu, slot, _ = b.spans[0]
            streams[cpu].proven.add(slot)
    for b in rooms:
        _place(streams, b)
    for stream in streams.values():
        stream.oddness[stream.placed] = ODD
    if not trace.gaps and not (trace.phase == INSTANT).any() and _divide(list(streams.values())):
        for stream in streams.values():
            stream.placed = stream.ends[stream.evidence()[stream.ends] > RARE].tolist()
        for b in rooms:
            _place(streams, b)
    return _gaps(trace, streams)


@dataclass
class Sides:
    """The calls, by name, of which there is an enter, and those of which there is an exit."""

    enters: set[str] = field(default_factory=set)
    exits: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, trace: Trace) -> Sides:
        sides = cls()
        sides.add(trace)
        return sides

    def add(self, trace: Trace) -> None:
        code, names = trace.names
        for side, phase in ((self.enters, ENTER), (self.exits, EXIT)):
            there = np.bincount(code[trace.phase == phase], minlength=len(names))
            side.update(names[c] for c in np.flatnonzero(there).tolist())

    @property
    def both(self) -> set[str]:
        return self.enters & self.exits

    @property
    def one(self) -> set[str]:
        """The calls of which one side was never seen: they pair with nothing, unless they never do."""
        return (self.enters ^ self.exits) - {*WITHOUT_EXIT, *WITHOUT_ENTER}


def unpaired(trace: Trace, sides: Sides, open_calls: Stacks | None = None, begin: int = 0) -> tuple[Ints, Ints]:
    """Rows (B,) of the two events of each pair that can't follow each other in a thread, the second no earlier than
    row ``begin``.

    sides: what is there of calls; one of which only one side is there at all pairs with nothing. open_calls: of a trace
    whose calls lie within one another, those in front of row ``begin``, which are brought up to the trace's end.
    """
    if trace.nested:
        return misnested(trace, {} if open_calls is None else open_calls, begin)
    phase, tid = trace.phase, trace.tid
    code, names = trace.names
    there = sides.both
    both = np.array([n in there for n in names], bool)
    no_exit, no_enter = np.isin(names, WITHOUT_EXIT), np.isin(names, WITHOUT_ENTER)
    usable = (phase != INSTANT) & (tid >= 0) & (both | no_exit | no_enter)[code]
    rows = np.flatnonzero(usable)
    rows = rows[stable_order(tid[rows])]
    p, q = rows[:-1], rows[1:]
    same = (tid[p] == tid[q]) & (q >= begin)
    p, q = p[same], q[same]
    p_enters, q_enters = phase[p] == ENTER, phase[q] == ENTER
    allowed = np.where(p_enters, ~q_enters & (code[p] == code[q]), q_enters)
    allowed |= p_enters & no_exit[code[p]]
    allowed |= ~q_enters & no_enter[code[q]]
    return p[~allowed], q[~allowed]


def owners(trace: Trace) -> Ints:
    """Whose each event is (E,): its thread's or, where no thread is known, its cpu's (below -1)."""
    return np.where(trace.tid >= 0, trace.tid, -2 - trace.cpu.astype(np.int64))


def misnested(trace: Trace, open_calls: Stacks, begin: int = 0) -> tuple[Ints, Ints]:
    """Of a trace whose calls lie within one another, rows (B,) of an exit of another call than the last one that is
    open, and of the event before it in its thread (or on its cpu, where no thread is known)."""
    codes, names = trace.names
    found: list[tuple[int, int]] = []
    for owner, own in rows_by(owners(trace)).items():
        rows = own[trace.phase[own] != INSTANT]
        stack = open_calls.setdefault(owner, [])
        early = int(np.searchsorted(rows, begin))
        before = int(rows[early - 1]) if early else -1
        rows = rows[early:]
        for row, code, phase in zip(rows.tolist(), codes[rows].tolist(), trace.phase[rows].tolist(), strict=True):
            if phase == ENTER:
                stack.append(names[code])
                if len(stack) > DEEPEST:  # no thread is so deep in calls: exits aren't recorded
                    del stack[0]
            elif stack and stack.pop() != names[code]:
                found.append((before, row))
                stack.clear()
            before = row
    p, q = np.array(found, np.int64).reshape(-1, 2).T
    return p, q


def _unexplained(trace: Trace, before: Ints, after: Ints) -> tuple[Ints, Ints]:
    """Without the pairs (B,) between whose events any cpu has a marked gap: the thread may have been there."""
    begin = np.sort(np.array([g.begin_ns for g in trace.gaps], np.int64))
    end = np.sort(np.array([g.end_ns for g in trace.gaps], np.int64))
    began = np.searchsorted(begin, trace.time_ns[after], side="left")
    ended = np.searchsorted(end, trace.time_ns[before], side="right")
    free = began <= ended
    return before[free], after[free]


def _room(trace: Trace, streams: dict[int, _Stream], p: int, q: int) -> _Break:
    spans = []
    cpus = tuple(sorted({int(trace.cpu[p]), int(trace.cpu[q])}))
    for cpu in cpus:
        rows = streams[cpu].rows
        first = max(0, int(np.searchsorted(rows, p, side="right")) - 1)
        last = min(int(np.searchsorted(rows, q)), len(rows) - 1)
        if first < last:
            spans.append((cpu, first, last))
    return _Break(int(trace.time_ns[p]), int(trace.time_ns[q]), cpus, tuple(spans))


def _divide(streams: list[_Stream]) -> bool:
    """Find the ends of all sub-buffers; False if the proven gaps don't lie at such, and so nothing is known of them:
    the events aren't raw_syscalls', or it is no drop mode.
    """
    total = sum(len(s.proven) for s in streams)
    for capacity in SUB_BUFFERS if total >= PROOFS else ():
        for stream in streams:
            stream.ends = np.empty(0, np.int64)
            stream.divide(capacity)
        if sum(len(s.proven.intersection(s.ends.tolist())) for s in streams) >= max(PROOFS, PROOF_SHARE * total):
            for stream in streams:
                stream.divide(capacity)  # once more, now that the silences at the ends don't count as usual
            return True
    for stream in streams:
        stream.ends = np.empty(0, np.int64)
    return False


def _place(streams: dict[int, _Stream], b: _Break) -> None:
    """Put a gap into the longest silence that the break has room in, at a sub-buffer's end where there is one.

    A break that a gap placed so far explains asks for no other.
    """
    best: tuple[bool, int, int, int] | None = None
    for cpu, first, last in b.spans:
        stream = streams[cpu]
        if bisect_left(stream.placed, first) < bisect_left(stream.placed, last):
            return
        silence = np.diff(np.clip(stream.time_ns[first : last + 1], b.begin_ns, b.end_ns))
        ends = stream.ends[np.searchsorted(stream.ends, first) : np.searchsorted(stream.ends, last)] - first
        at = int(ends[np.argmax(silence[ends])] if len(ends) else np.argmax(silence))
        found = (len(ends) > 0, int(silence[at]), cpu, first + at)
        best = found if best is None else max(best, found)
    if best is not None:
        insort(streams[best[2]].placed, best[3])


def _gaps(trace: Trace, streams: dict[int, _Stream]) -> tuple[Gap, ...]:
    found = sorted((int(s.rows[slot + 1]), int(s.rows[slot]), cpu) for cpu, s in streams.items() for slot in s.placed)
    return tuple(
        Gap(
            number=number,
            cpu=cpu,
            before=p,
            after=q,
            begin_ns=int(trace.time_ns[p]),
            end_ns=int(trace.time_ns[q]),
            count=None,
            known="suspected",
            line=int(trace.line[q]),
        )
        for number, (q, p, cpu) in enumerate(found)
    )
