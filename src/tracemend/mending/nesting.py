"""Interrupts within interrupts (compiled), as one number: the innermost one is its last digit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tracemend.compiled import compiled

Ints = NDArray[np.int64]

#: What a digit may be, and how many there are at most.
BASE, DEEPEST = 8, 6


@compiled
def nest(stack: int, kind: int) -> int:
    """The open interrupts after an event of this kind, -1 if it can't be."""
    if kind > 0:
        return stack * BASE + kind if stack < BASE ** (DEEPEST - 1) else -1
    return stack // BASE if stack % BASE == -kind else -1


@compiled
def nested(kinds: Ints, breaks: NDArray[np.bool_]) -> tuple[Ints, int]:
    """The interrupts that are open behind each event of a stream, as far as nothing is missing; and how many of those
    that end weren't open though they must have been seen to begin.

    kinds: of each event, as in ``Cpu.nesting``; breaks: in front of which ones events are missing.
    """
    stacks = np.zeros(len(kinds), np.int64)
    stack, wrong, seen = 0, 0, False
    for i in range(len(kinds)):
        if breaks[i]:
            stack, seen = 0, False
        if kinds[i]:
            stack = nest(stack, kinds[i])
            seen = seen or kinds[i] > 0
            if stack < 0:
                stack = 0
                wrong += seen
        stacks[i] = stack
    return stacks, wrong


@compiled
def distance(stack: int, other: int) -> int:
    """The fewest events from one nesting of interrupts to another."""
    n = 0
    while stack != other:
        if stack > other:
            stack //= BASE
        else:
            other //= BASE
        n += 1
    return n
