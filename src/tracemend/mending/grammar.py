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
from tracemend.mending import waking
from tracemend.mending.beam import (
    FLOOR,
    LITTLE,
    Candidates,
    Chosen,
    Ending,
    Options,
    better,
    likeliest,
    options_of,
    place,
    possible,
    silent_for,
)
from tracemend.mending.constraints import ENDED, FREE, Rules, Threads
from tracemend.mending.nesting import BASE, distance, nest
from tracemend.mending.room import need
from tracemend.mending.waking import AWAKE, Waits, mixed
from tracemend.trace.events import ENTER, EXIT

Ints = NDArray[np.int64]

#: No thread, where one is asked for.
NOBODY = -1
#: In a digest, in place of a thread's state: that it runs, and the open interrupts.
RUNS, OPEN = 1 << 20, 1 << 22


class Cpu(NamedTuple):
    """What a gap's cpu allows.

    able (N + 1, T): who may run up to each position and behind the last one. foreign (T,): threads of which not every
    switch was recorded: between them no switch is asked for. begin, end: who runs at the edges (NOBODY: anybody).
    switch: the id of a switch. nesting (V,): k for an event that begins an interrupt of kind k, -k for one that ends
    it. begun, left: the interrupts that are open at the edges.
    waits: who waits there.
    """

    able: NDArray[np.bool_]
    foreign: NDArray[np.bool_]
    begin: int
    end: int
    switch: int
    nesting: Ints
    begun: int
    left: int
    waits: Waits


class Ways(NamedTuple):
    """The best ways on so far, best first (W,): the beam that each goes on from, its event, thread, that one's state
    after it, who runs next, the open interrupts, and a digest of where it leads."""

    score: NDArray[np.float64]
    beam: Ints
    event: Ints
    thread: Ints
    after: Ints
    following: Ints
    stack: Ints
    digest: Ints
    p: NDArray[np.float64]
    sure: NDArray[np.float64]


@compiled
def _same(ways: Ways, n: int, digest: int) -> int:
    """Which of the n kept ways leads to the same; n if none does."""
    for j in range(n):
        if ways.digest[j] == digest:
            return j
    return n


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
def _late(needs: int, room: int, away: bool) -> int:
    """1 if a thread can't do any more what it needs in so many positions; away: another one runs."""
    return int(needs > 0 and room < needs + away)


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
        n = likeliest(candidates.threads[i + 1], found)
        for k in range(T):
            listed = False
            for j in range(n):
                listed |= found[j] == k
            if not listed and (k in (0, cpu.end) or needs_T[k] > 0):
                found[n] = k
                n += 1
    elif cpu.end == NOBODY:
        n = likeliest(candidates.threads[i], found)
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
    m = options_of(state, end, row, some, rules, usual, own)
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
        lacks &= event != cpu.waits.wakeup
        own.events[n], own.log_p[n], own.p[n] = event, own.log_p[k], own.p[k]
        n += 1
    if not switch:
        own.events[n], own.log_p[n], own.p[n] = cpu.switch, FLOOR, LITTLE
        n += 1
    if lacks:
        own.events[n], own.log_p[n], own.p[n] = cpu.waits.wakeup, FLOOR, LITTLE
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
    candidates: Candidates, threads: Threads, ending: Ending, cpu: Cpu, rules: Rules, usual: Ints, width: int
) -> tuple[bool, Chosen, Ints]:
    """The likeliest fill by beam search, and who runs behind each event (N,); False where none is possible. ending: as
    in ``beam.search``."""
    N, M = candidates.events.shape
    T = len(threads.begin)
    waits = cpu.waits
    many = M + 3 + len(usual) + np.count_nonzero(cpu.nesting)
    row = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    own = Options(np.empty(many, np.int64), np.empty(many), np.empty(many))
    reals, ints = np.empty((3, width)), np.empty((7, width), np.int64)
    ways = Ways(reals[0], ints[0], ints[1], ints[2], ints[3], ints[4], ints[5], ints[6], reals[1], reals[2])
    states, after_states = np.empty((width, T), np.int64), np.empty((width, T), np.int64)
    woken, after_woken = waking.nobody(width, T), waking.nobody(width, T)
    digests, after_digests = np.zeros(width, np.int64), np.zeros(width, np.int64)
    # who runs, and the open interrupts
    current, after_current = np.zeros(width, np.int64), np.zeros(width, np.int64)
    stacks, after_stacks = np.zeros(width, np.int64), np.zeros(width, np.int64)
    for t in range(T):
        states[0, t] = threads.begin[t]
        digests[0] += mixed(t, states[0, t])
    current[0], stacks[0] = cpu.begin, cpu.begun
    scores = np.zeros(width)
    for_long = waking.to_the_end(waits)
    room = np.zeros(N + 1, np.int64)  # positions up to each one that aren't taken yet
    for i in range(N):
        room[i + 1] = room[i] + (not waits.pinned[i])
    needs_T, room_T, next_ones = np.empty(T, np.int64), np.empty(T, np.int64), np.empty(T + 3, np.int64)
    # who can't be woken, who must be, and since when those wait
    sleeping, dreams_T, since = np.zeros(T, np.bool_), np.zeros(T, np.bool_), np.empty(T, np.int64)
    rest = np.empty(T + 1, np.int64)
    from_NW, ids_NW = np.empty((N, width), np.int16), np.empty((N, width), np.int32)
    threads_NW, p_NW = np.empty((N, width), np.int32), np.empty((N, width), np.float32)
    sure_NW, following_NW = np.empty((N, width), np.float32), np.empty((N, width), np.int32)
    best = Chosen(np.empty(N, np.int64), np.empty(N, np.int64), np.empty(N, np.float32), np.empty(N, np.float32))
    who = np.empty(N, np.int64)
    beams = 1
    for i in range(N):
        some = possible(i, candidates, rules, row)
        left = room[N] - room[i + 1]
        for t in range(T):
            room_T[t] = room[threads.last[t]] - room[i + 1]
        n = 0
        for beam in range(beams):
            digests[beam] = waking.sleepers(i, waits, woken, beam, digests[beam])
            free = woken.wakes[beam, : woken.free[beam]]
            total, wanting, dreaming, late, silent = 0, 0, 0, 0, 0.0
            for t in range(T):
                needs_T[t] = need(states[beam, t], threads.end[t])
                total += needs_T[t]
                wanting += needs_T[t] > 0
                late += _late(needs_T[t], room_T[t], True)
                if ending.last[i, t] > 0:
                    silent += ending.last[i, t] * silent_for(ending, states[beam, t])
                asleep = waits.since[i, t] >= 0 and not woken.awake[beam, t]
                sleeping[t] = asleep and waking.waker(free, waits.since[i, t]) < 0
                # whether it must still run here and can't before it is woken
                dreams_T[t] = asleep and for_long[i, t] and t != current[beam] and (needs_T[t] > 0 or t == cpu.end)
                if dreams_T[t]:
                    since[dreaming] = waits.since[i, t]
                    dreaming += 1
            lacking = waking.unwoken(free, since[:dreaming], rest)
            spare = len(free) - dreaming + lacking
            now, stack = current[beam], stacks[beam]
            lacks = waits.pinned[i] or lacking > 0
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
                    if waits.pinned[i] and event != waits.wakeup:
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
                    digest = digests[beam] - mixed(t, state) + mixed(t, after) + mixed(stack_after, OPEN)
                    score = scores[beam] + silent + own.log_p[k]
                    if after != state and ending.last[i, t] > 0:
                        score += ending.last[i, t] * (silent_for(ending, after) - silent_for(ending, state))
                    if t != now:
                        score += candidates.log_t[i, t] - (candidates.log_t[i, now] if now != NOBODY else 0.0)
                    sure = min(1.0, own.p[k] / allowed)
                    switches = event == cpu.switch
                    gains = waking.wakes(i, event, waits, woken, beam)
                    found_running = now == NOBODY and waits.since[i, t] >= 0
                    if switches:
                        of = (t, threads.tids, needs_T)
                        many_next = _next_ones(i, of, candidates, cpu, sleeping, next_ones)
                    else:
                        next_ones[0], many_next = t, int(cpu.able[i + 1, t])
                    for f in next_ones[:many_next]:
                        wants = needs if f == t else needs_T[f]
                        awaited = needs if cpu.end == t else needs_T[max(0, cpu.end)]
                        wanted = cpu.end not in (NOBODY, f) and awaited > 0
                        used = waking.uses(i, f, waits, woken, beam) if switches else -1
                        lack = lacking - gains - (found_running and dreams_T[t])
                        lack += used >= 0 and not dreams_T[f] and spare == 0  # of one that must be woken
                        more_late = late - _late(needs_T[t], room_T[t], True) + _late(needs, room_T[t], f != t)
                        if f != t:
                            more_late += _late(needs_T[f], room_T[f], False) - _late(needs_T[f], room_T[f], True)
                        if more_late:
                            continue
                        if least + max(0, lack) + _switches(cpu, still - (wants > 0), wanted, f) > left:
                            continue
                        more = candidates.log_t[i + 1, f] if i + 1 < N else 0.0
                        leads = digest + mixed(f, RUNS)
                        leads += waking.free_ones(woken, beam, used, waits.eras[i] if gains else -1)
                        if used >= 0:
                            leads += mixed(f, AWAKE)
                        if found_running:
                            leads += mixed(t, AWAKE)
                        at = better(ways.score, n, score + more)
                        same = _same(ways, n, leads) if at < width else 0
                        if at <= same:
                            n = place(reals, ints, at, same, n)
                            ways.score[at], ways.p[at] = score + more, own.p[k]
                            ways.sure[at] = sure if state >= 0 or stack or switches else own.p[k]
                            ways.beam[at], ways.event[at], ways.thread[at] = beam, event, t
                            ways.after[at], ways.following[at] = after, f
                            ways.stack[at], ways.digest[at] = stack_after, leads
        if n == 0:
            return False, best, who
        for j in range(n):
            beam, event, t, f = ways.beam[j], ways.event[j], ways.thread[j], ways.following[j]
            after_states[j] = states[beam]
            after_states[j, t] = ways.after[j]
            way = (beam, event, f if event == cpu.switch else NOBODY, t if current[beam] == NOBODY else NOBODY)
            after_digests[j] = digests[beam] - mixed(t, states[beam, t]) + mixed(t, ways.after[j])
            after_digests[j] += waking.follow(i, way, waits, woken, after_woken, j)
            after_current[j], after_stacks[j], scores[j] = f, ways.stack[j], ways.score[j]
            for k in range(T):
                if ending.last[i, k] > 0:
                    scores[j] -= ending.last[i, k] * silent_for(ending, after_states[j, k])
            from_NW[i, j], ids_NW[i, j], threads_NW[i, j] = beam, event, t
            p_NW[i, j], sure_NW[i, j], following_NW[i, j] = ways.p[j], ways.sure[j], f
        states, after_states = after_states, states
        woken, after_woken = after_woken, woken
        digests, after_digests = after_digests, digests
        current, after_current = after_current, current
        stacks, after_stacks = after_stacks, stacks
        beams = n
    beam = 0
    for i in range(N - 1, -1, -1):
        best.ids[i], best.threads[i], who[i] = ids_NW[i, beam], threads_NW[i, beam], following_NW[i, beam]
        best.p[i], best.sure[i] = p_NW[i, beam], sure_NW[i, beam]
        beam = from_NW[i, beam]
    return True, best, who
