"""The search for a gap of a cpu whose switches were recorded, compiled: who runs is decided with what happens.

Every index is in range as in ``beam``; the threads' tables have as many columns as there are threads, and ``Cpu.able``
a row more than there are positions.

Axis legend: N hidden positions, M candidates, T threads, W beams, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled
from tracemend.mending.beam import FLOOR, LITTLE, Candidates, Chosen, Options, _likeliest, _options, _possible
from tracemend.mending.constraints import ENDED, FREE, Rules, Threads
from tracemend.mending.nesting import BASE, distance, nest
from tracemend.mending.room import need
from tracemend.trace.events import ENTER, EXIT

Ints = NDArray[np.int64]

#: No thread, where one is asked for.
NOBODY = -1
#: In a digest, in place of a thread's state: that it runs, that it was woken, the open interrupts, the free wakeups.
RUNS, AWAKE, OPEN, FREE_ONES = 1 << 20, 1 << 21, 1 << 22, 1 << 23


class Cpu(NamedTuple):
    """What a gap's cpu allows.

    able (N + 1, T): who may run up to each position and behind the last one. foreign (T,): threads of which not every
    switch was recorded: between them no switch is asked for. begin, end: who runs at the edges (NOBODY: anybody).
    switch: the id of a switch. nesting (V,): k for an event that begins an interrupt of kind k, -k for one that ends
    it. begun, left: the interrupts that are open at the edges.
    waiting (N + 1, T): who is known to wait up to each position and behind the last one, unless this fill wakes it;
    wakeup: the id of an event that wakes a thread (NOBODY: there is none, and nobody asks for any); pinned (N,): where
    an event must wake somebody who is seen to run elsewhere later.
    """

    able: NDArray[np.bool_]
    foreign: NDArray[np.bool_]
    begin: int
    end: int
    switch: int
    nesting: Ints
    begun: int
    left: int
    waiting: NDArray[np.bool_]
    wakeup: int
    pinned: NDArray[np.bool_]


class Ways(NamedTuple):
    """The best ways on so far, best first (W,): the beam that each goes on from, its event, thread, that one's state
    after it, who runs next, the open interrupts, wakeups that have woken nobody yet, and a digest of where it leads."""

    score: NDArray[np.float64]
    beam: Ints
    event: Ints
    thread: Ints
    after: Ints
    following: Ints
    stack: Ints
    free: Ints
    digest: Ints
    p: NDArray[np.float64]
    sure: NDArray[np.float64]


@compiled
def _mixed(t: int, state: int) -> int:
    """A thread's share of a digest: digests of the same states are the same, others hardly ever."""
    x = (t + 1) * 0x9E3779B1 + (state + 7) * 0x85EBCA6B
    x ^= x >> 15
    x *= 0x2C1B3C6D
    x ^= x >> 12
    return x & 0xFFFFFFFFFFFF


@compiled
def _place(ways: Ways, n: int, score: float, digest: int) -> tuple[int, int]:
    """Where a way on belongs among the n kept ones, which make room for it (-1: nowhere), and how many they are then.

    Of ways that lead to the same the best is kept, of equals the first.
    """
    width = len(ways.score)
    at = n
    while at and score > ways.score[at - 1]:
        at -= 1
    if at == width:
        return -1, n
    last, more = min(n, width - 1), min(n + 1, width)
    for j in range(n):
        if ways.digest[j] == digest:
            if j < at:
                return -1, n
            last, more = j, n
            break
    for j in range(last, at, -1):
        k = j - 1
        ways.score[j], ways.p[j], ways.sure[j] = ways.score[k], ways.p[k], ways.sure[k]
        ways.beam[j], ways.event[j], ways.thread[j] = ways.beam[k], ways.event[k], ways.thread[k]
        ways.after[j], ways.following[j] = ways.after[k], ways.following[k]
        ways.stack[j], ways.free[j], ways.digest[j] = ways.stack[k], ways.free[k], ways.digest[k]
    return at, more


@compiled
def _alike(cpu: Cpu, a: int, b: int) -> bool:
    """Is no switch needed from one thread to the other?"""
    return a == b or (cpu.foreign[a] and cpu.foreign[b])


@compiled
def _switches(cpu: Cpu, others: int, wanted: bool, current: int) -> int:
    """The fewest switches until the gap's end, if the current thread isn't counted among ``others`` with something to
    do. wanted: whether the thread behind the gap is one of them."""
    if cpu.end == NOBODY:
        return others
    if _alike(cpu, current, cpu.end):
        return others + (others > 0)
    return others + (not wanted)


@compiled
def _late(needs: int, last: int, at: int, away: bool) -> int:
    """1 if a thread can't do any more what it needs before position ``last``, if ``at`` is the next one; away: another
    one runs."""
    return int(needs > 0 and last - at < needs + away)


@compiled
def _next_ones(
    i: int, own: tuple[int, Ints, Ints], candidates: Candidates, cpu: Cpu, sleeping: NDArray[np.bool_], found: Ints
) -> int:
    """Who may run behind a switch at position i, into ``found``: the likeliest, whoever has something to do, whoever
    runs behind the gap, and the unknown thread. own: whom it leaves, the threads' ids, and what they need (T,).
    sleeping (T,): who must be woken first and can't be."""
    leaves, tids, needs_T = own
    N, T = candidates.threads.shape
    n = 0
    if i + 1 < N:
        n = _likeliest(candidates.threads[i + 1], found)
        for k in range(T):
            listed = False
            for j in range(n):
                listed |= found[j] == k
            if not listed and (k in (0, cpu.end) or needs_T[k] > 0):
                found[n] = k
                n += 1
    elif cpu.end == NOBODY:
        n = _likeliest(candidates.threads[i], found)
    else:
        for k in range(T):
            if _alike(cpu, k, cpu.end):
                found[n] = k
                n += 1
    m = 0
    for j in range(n):
        same = found[j] == leaves or (leaves and tids[found[j]] == tids[leaves])
        if not same and cpu.able[i + 1, found[j]] and not sleeping[found[j]]:
            found[m] = found[j]
            m += 1
    return m


@compiled
def _all_options(
    now: tuple[int, int, int, bool],
    row: Options,
    some: tuple[int, float],
    tables: tuple[Rules, Cpu, Ints],
    own: Options,
) -> int:
    """What a thread can do, as ``beam`` has it, within the open interrupts; and what may have to be done.

    now: the thread's state, the one it must have behind the gap, the open interrupts, and whether wakeups are lacking.
    """
    state, end, stack, lacks = now
    rules, cpu, usual = tables
    m = _options(state, end, row, some, rules, usual, own)
    n, switch, closing = 0, stack != 0, stack == 0
    for k in range(m):
        event = own.events[k]
        kind = cpu.nesting[event]
        if stack and (
            rules.phase[event] in (ENTER, EXIT) or event == cpu.switch or (kind < 0 and stack % BASE != -kind)
        ):
            continue
        if not stack and kind < 0:
            continue
        switch |= event == cpu.switch
        closing |= kind < 0
        lacks &= event != cpu.wakeup
        own.events[n], own.log_p[n], own.p[n] = event, own.log_p[k], own.p[k]
        n += 1
    if not switch:
        own.events[n], own.log_p[n], own.p[n] = cpu.switch, FLOOR, LITTLE
        n += 1
    if lacks:
        own.events[n], own.log_p[n], own.p[n] = cpu.wakeup, FLOOR, LITTLE
        n += 1
    goal = cpu.left
    while goal > stack:  # what is to be open at the end: the next one to begin
        if goal // BASE == stack:
            break
        goal //= BASE
    opening = goal % BASE if goal > stack and goal // BASE == stack else 0
    for event in range(len(cpu.nesting)) if opening or not closing else range(0):
        kind = cpu.nesting[event]
        if (opening and kind == opening) or (not closing and kind == -(stack % BASE)):
            listed = False
            for k in range(n):
                listed |= own.events[k] == event
            if not listed:
                own.events[n], own.log_p[n], own.p[n] = event, FLOOR, LITTLE
                n += 1
    return n


@compiled
def search(
    candidates: Candidates, threads: Threads, cpu: Cpu, rules: Rules, usual: Ints, width: int
) -> tuple[bool, Chosen, Ints]:
    """The likeliest fill by beam search, and who runs behind each event (N,); False where none is possible."""
    N, M = candidates.events.shape
    T = len(threads.begin)
    many = M + 3 + len(usual) + np.count_nonzero(cpu.nesting)
    row = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    own = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    reals, ints = np.empty((3, width)), np.empty((8, width), np.int64)
    ways = Ways(reals[0], ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6], ints[7], reals[1], reals[2])
    states, after_states = np.empty((width, T), np.int64), np.empty((width, T), np.int64)
    awake, after_awake = np.zeros((width, T), np.bool_), np.zeros((width, T), np.bool_)
    digests, after_digests = np.zeros(width, np.int64), np.zeros(width, np.int64)
    # who runs, the open interrupts, and wakeups that have woken nobody yet
    current, after_current = np.zeros(width, np.int64), np.zeros(width, np.int64)
    stacks, after_stacks = np.zeros(width, np.int64), np.zeros(width, np.int64)
    wakes, after_wakes = np.zeros(width, np.int64), np.zeros(width, np.int64)
    for t in range(T):
        states[0, t] = threads.begin[t]
        digests[0] += _mixed(t, states[0, t])
    current[0], stacks[0] = cpu.begin, cpu.begun
    scores = np.zeros(width)
    for_long = cpu.waiting.copy()  # who waits from a position on to the gap's end
    for i in range(N - 1, -1, -1):
        for t in range(T):
            for_long[i, t] &= for_long[i + 1, t]
    needs_T, next_ones, sleeping = np.empty(T, np.int64), np.empty(T + 3, np.int64), np.zeros(T, np.bool_)
    from_NW, ids_NW = np.empty((N, width), np.int16), np.empty((N, width), np.int32)
    threads_NW, p_NW = np.empty((N, width), np.int32), np.empty((N, width), np.float32)
    sure_NW, following_NW = np.empty((N, width), np.float32), np.empty((N, width), np.int32)
    best = Chosen(np.empty(N, np.int64), np.empty(N, np.int64), np.empty(N, np.float32), np.empty(N, np.float32))
    who = np.empty(N, np.int64)
    beams = 1
    for i in range(N):
        some = _possible(i, candidates, rules, row)
        left = N - i - 1
        n = 0
        for beam in range(beams):
            total, wanting, dreaming, late = 0, 0, 0, 0
            for t in range(T):
                needs_T[t] = need(states[beam, t], threads.end[t])
                total += needs_T[t]
                wanting += needs_T[t] > 0
                late += _late(needs_T[t], threads.last[t], i + 1, True)
                asleep = cpu.wakeup != NOBODY and not awake[beam, t]
                sleeping[t] = asleep and cpu.waiting[i + 1, t] and not wakes[beam]
                # those that must still run here and can't before they are woken
                dreaming += asleep and for_long[i + 1, t] and t != current[beam] and (needs_T[t] > 0 or t == cpu.end)
            now, stack = current[beam], stacks[beam]
            lacks = cpu.pinned[i] or (cpu.wakeup != NOBODY and wakes[beam] < dreaming)
            for t in range(T):
                if now == NOBODY:
                    if candidates.threads[i, t] <= 0:
                        continue
                elif not _alike(cpu, now, t) or (t != now and candidates.threads[i, t] <= 0):
                    continue
                if not cpu.able[i, t]:
                    continue
                state = states[beam, t]
                options = _all_options((state, threads.end[t], stack, lacks), row, some, (rules, cpu, usual), own)
                allowed = 0.0
                for k in range(options):
                    allowed += own.p[k]
                if allowed == 0:
                    allowed = 1.0
                for k in range(options):
                    event = own.events[k]
                    if cpu.pinned[i] and event != cpu.wakeup:
                        continue
                    calls = rules.phase[event] in (ENTER, EXIT)
                    if calls and (state == ENDED or not threads.first[t] <= i < threads.last[t]):
                        continue
                    after = rules.after[event] if calls else state
                    if t == 0 and after == ENDED:  # another unknown thread can take its place
                        after = FREE
                    stack_after = nest(stack, cpu.nesting[event]) if cpu.nesting[event] else stack
                    if stack_after < 0:
                        continue
                    needs = need(after, threads.end[t])
                    least = total - needs_T[t] + needs + distance(stack_after, cpu.left)
                    still = wanting - (needs_T[t] > 0) + (needs > 0)
                    digest = digests[beam] - _mixed(t, state) + _mixed(t, after) + _mixed(stack_after, OPEN)
                    score = scores[beam] + own.log_p[k]
                    if t != now:
                        score += candidates.log_t[i, t] - (candidates.log_t[i, now] if now != NOBODY else 0.0)
                    sure = min(1.0, own.p[k] / allowed)
                    switches = event == cpu.switch
                    if switches:
                        of = (t, threads.tids, needs_T)
                        many_next = _next_ones(i, of, candidates, cpu, sleeping, next_ones)
                    else:
                        next_ones[0], many_next = t, int(cpu.able[i + 1, t])
                    for f in next_ones[:many_next]:
                        wants = needs if f == t else needs_T[f]
                        awaited = needs if cpu.end == t else needs_T[max(0, cpu.end)]
                        wanted = cpu.end not in (NOBODY, f) and awaited > 0
                        woken = switches and cpu.wakeup != NOBODY and not awake[beam, f]
                        uses = woken and cpu.waiting[i + 1, f]
                        free = wakes[beam] + (event == cpu.wakeup and not cpu.pinned[i]) - uses
                        dreams = int(woken and for_long[i + 1, f] and (needs_T[f] > 0 or f == cpu.end))
                        dreams += now == NOBODY and for_long[i + 1, t] and (needs_T[t] > 0 or t == cpu.end)
                        lacking = max(0, dreaming - dreams - free) if cpu.wakeup != NOBODY else 0
                        more_late = late - _late(needs_T[t], threads.last[t], i + 1, True)
                        more_late += _late(needs, threads.last[t], i + 1, f != t)
                        if f != t:
                            more_late -= _late(needs_T[f], threads.last[f], i + 1, True)
                            more_late += _late(needs_T[f], threads.last[f], i + 1, False)
                        if more_late:
                            continue
                        if least + lacking + _switches(cpu, still - (wants > 0), wanted, f) > left:
                            continue
                        more = candidates.log_t[i + 1, f] if i + 1 < N else 0.0
                        leads = digest + _mixed(f, RUNS) + _mixed(free, FREE_ONES)
                        if woken:
                            leads += _mixed(f, AWAKE)
                        if now == NOBODY:  # who runs at first is awake
                            leads += _mixed(t, AWAKE)
                        at, n = _place(ways, n, score + more, leads)
                        if at >= 0:
                            ways.score[at], ways.p[at] = score + more, own.p[k]
                            ways.sure[at] = sure if state >= 0 or stack or switches else own.p[k]
                            ways.beam[at], ways.event[at], ways.thread[at] = beam, event, t
                            ways.after[at], ways.following[at] = after, f
                            ways.stack[at], ways.free[at], ways.digest[at] = stack_after, free, leads
        if n == 0:
            return False, best, who
        for j in range(n):
            beam, t, f = ways.beam[j], ways.thread[j], ways.following[j]
            after_states[j], after_awake[j] = states[beam], awake[beam]
            after_digests[j] = digests[beam] - _mixed(t, states[beam, t]) + _mixed(t, ways.after[j])
            after_states[j, t] = ways.after[j]
            if ways.event[j] == cpu.switch and cpu.wakeup != NOBODY and not awake[beam, f]:
                after_awake[j, f] = True
                after_digests[j] += _mixed(f, AWAKE)
            if current[beam] == NOBODY:
                after_awake[j, t] = True
                after_digests[j] += _mixed(t, AWAKE)
            after_current[j], after_stacks[j], after_wakes[j] = f, ways.stack[j], ways.free[j]
            scores[j] = ways.score[j]
            from_NW[i, j], ids_NW[i, j], threads_NW[i, j] = beam, ways.event[j], t
            p_NW[i, j], sure_NW[i, j], following_NW[i, j] = ways.p[j], ways.sure[j], f
        states, after_states = after_states, states
        awake, after_awake = after_awake, awake
        digests, after_digests = after_digests, digests
        current, after_current = after_current, current
        stacks, after_stacks = after_stacks, stacks
        wakes, after_wakes = after_wakes, wakes
        beams = n
    beam = 0
    for i in range(N - 1, -1, -1):
        best.ids[i], best.threads[i], who[i] = ids_NW[i, beam], threads_NW[i, beam], following_NW[i, beam]
        best.p[i], best.sure[i] = p_NW[i, beam], sure_NW[i, beam]
        beam = from_NW[i, beam]
    return True, best, who
