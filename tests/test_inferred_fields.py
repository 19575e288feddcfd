"""What inferred events have in their fields, and what their threads are called, held against what was hidden."""

from __future__ import annotations

import lzma
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tracemend.formats import read
from tracemend.mending.beliefs import Filled
from tracemend.mending.descriptors import CLOSES, DISTURBS, LOWEST, NONE, OPENS, RETURNS, UNKNOWN, lowest_free
from tracemend.mending.fields import OWNED, SURE, SWITCHED, WOKEN, Fields
from tracemend.mending.free import walk
from tracemend.mending.mended import INFERRED
from tracemend.mending.names import EXECUTED, Moments, Names, border
from tracemend.mending.run import mend_trace
from tracemend.mending.shares import likeliest
from tracemend.mending.together import Inferred, Line, Together
from tracemend.trace.arguments import KEYS, key_texts
from tracemend.trace.events import SCHEMA, Gap, Trace
from tracemend.trace.fields import SWITCH, WAKEUPS, numbers, values
from tracemend.trace.vocabulary import universal

DATA = ROOT / "tests" / "data"


@cache
def recorded(name: str, folder: Path) -> Trace:
    path = folder / name.removesuffix(".xz")
    path.write_bytes(lzma.decompress((DATA / name).read_bytes()))
    return read(path)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return recorded("ftrace_kernel.txt.xz", tmp_path_factory.mktemp("kernel"))


class Hidden:
    """A recording with holes: ``kept`` survived, ``rows`` (I,) are those that didn't, ``parts`` are they as fills, true
    in all that the search decides."""

    def __init__(self, trace: Trace, seed: int, longest: int = 60, decided: bool = True) -> None:
        self.trace, rng = trace, np.random.default_rng(seed)
        self.vocabulary = universal().extended(trace)
        ids = self.vocabulary.encode(trace).astype(np.int64)
        following = np.full(len(trace), -1, np.int64)
        for event, pid in ((SWITCH, "next_pid"), *((w, "pid") for w in WAKEUPS)) if decided else ():
            rows, told = values(trace, event, (pid,))
            following[rows] = numbers(told[pid])
        gone, blocks = np.zeros(len(trace), bool), []
        for _ in range(40):
            own = trace.streams[int(rng.choice(list(trace.streams)))]
            length = int(rng.integers(1, longest))
            first = int(rng.integers(1, len(own) - length - 1))
            if not gone[own[first - 1 : first + length + 1]].any():
                blocks.append(own[first - 1 : first + length + 1])
                gone[blocks[-1][1:-1]] = True
        new = np.cumsum(~gone) - 1
        self.kept = replace(trace, table=trace.table.filter(pa.array(~gone)))
        self.rows = np.concatenate([b[1:-1] for b in blocks])
        self.parts = []
        for number, block in enumerate(blocks):
            first, last = int(block[0]), int(block[-1])
            begin, end = trace.time_ns[[first, last]].tolist()
            cpu, before, after = int(trace.cpu[first]), int(new[first]), int(new[last])
            gap = Gap(number, cpu, before, after, begin, end, len(block) - 2, "counted", 0)
            lost = block[1:-1]
            sure = np.full(len(lost), 0.9, np.float32)
            own = trace.tid[lost].astype(np.int64)
            self.parts.append(Filled(gap, ids[lost], own, trace.time_ns[lost], sure, following[lost]))
        self.kept = self.kept.with_gaps(tuple(f.gap for f in self.parts))
        self.fields = Fields(self.kept, ids[~gone], self.vocabulary)
        self.inferred = Inferred.of(self.parts)

    def column(self) -> pa.MapArray:
        return self.fields.of(self.inferred, self.fields.comms(self.inferred))

    def told(self) -> list[dict[str, dict[str, object]]]:
        return [dict(fields) for fields in self.column().to_pylist()]


FIELDS = {
    SWITCH: ("prev_pid", "prev_comm", "prev_state", "next_pid", "next_comm"),
    **dict.fromkeys(WAKEUPS, ("pid", "comm", "target_cpu")),
    "sched_process_fork": ("pid", "comm", "child_pid", "child_comm"),
    "sched_process_exec": ("pid", "old_pid", "filename"),
    "sched_process_exit": ("pid", "comm"),
    "irq_handler_entry": ("irq", "name"),
    "irq_handler_exit": ("irq", "ret"),
    **dict.fromkeys(("softirq_raise", "softirq_entry", "softirq_exit"), ("vec", "action")),
}
#: What the search decides, or the event itself.
CERTAIN = {
    (SWITCH, "prev_pid"),
    (SWITCH, "next_pid"),
    *((w, "pid") for w in WAKEUPS),
    ("sched_process_fork", "pid"),
    ("sched_process_exec", "pid"),
    ("sched_process_exec", "old_pid"),
    ("sched_process_exit", "pid"),
}


@pytest.mark.parametrize("seed", range(3))
def test_fields_of_hidden_events_are_mostly_right_and_those_decided_always(kernel: Trace, seed: int) -> None:
    hidden = Hidden(kernel, seed)
    told = hidden.told()
    place = {int(row): k for k, row in enumerate(hidden.rows)}
    right: Counter[tuple[str, str]] = Counter()
    given: Counter[tuple[str, str]] = Counter()
    said = 0.0
    for event, names in FIELDS.items():
        rows, truth = values(kernel, event, names)
        for name in names:
            for row, value in zip(rows.tolist(), truth[name].to_pylist(), strict=True):
                if row not in place:
                    continue
                found = told[place[row]].get(name)
                if (event, name) in CERTAIN:
                    assert found is not None
                    assert found["value"] == value, (event, name)
                    shares = SWITCHED if event == SWITCH else WOKEN if event in WAKEUPS else OWNED
                    assert found["confidence"] == pytest.approx(0.9 * np.interp(0.9, SURE, shares))
                if found is not None:
                    given[event, name] += 1
                    right[event, name] += found["value"] == value
                    said += float(found["confidence"]) / 0.9  # type: ignore[arg-type]
    assert given.total() > 200
    assert right.total() > 0.9 * given.total()
    assert said < right.total() + 0.07 * given.total()  # no more sure than right


def test_each_kind_has_its_own_fields_and_no_others(kernel: Trace) -> None:
    hidden = Hidden(kernel, 3)
    column = hidden.column()
    assert column.type == INFERRED.field("fields").type
    column.validate(full=True)
    names = np.asarray(kernel.names[1])[kernel.names[0]]
    for row, fields in zip(hidden.rows.tolist(), column.to_pylist(), strict=True):
        allowed = FIELDS.get(names[row]) or (("pid", "comm", "orig_cpu", "dest_cpu") if "migrate" in names[row] else ())
        found = [name for name, _ in fields]
        assert len(set(found)) == len(found)
        if kernel.phase[row] == 2:
            assert set(found) <= set(allowed)
        elif kernel.phase[row] == 1:
            assert set(found) <= {"ret"}
        for _, field in fields:
            assert 0.4499 <= field["confidence"] <= 0.9001


def test_a_number_and_its_name_belong_together(kernel: Trace) -> None:
    pairs = set()
    for event, names in (("softirq_entry", ("vec", "action")), ("irq_handler_entry", ("irq", "name"))):
        _, told = values(kernel, event, names)
        pairs |= set(zip(*(told[n].to_pylist() for n in names), strict=True))
    found = 0
    for seed in range(3):
        for fields in Hidden(kernel, seed).told():
            for number, name in (("vec", "action"), ("irq", "name")):
                if number in fields and name in fields:
                    found += 1
                    assert (fields[number]["value"], fields[name]["value"]) in pairs
    assert found > 10


def test_who_was_not_decided_is_not_made_up(kernel: Trace) -> None:
    for fields, row in zip((hidden := Hidden(kernel, 1, decided=False)).told(), hidden.rows.tolist(), strict=True):
        if kernel.table["name"][row].as_py() == SWITCH:
            assert not {"next_pid", "next_comm"} & fields.keys()


def test_the_idle_thread_is_called_as_the_kernel_calls_it(kernel: Trace) -> None:
    """Made up: every switch that is hidden goes to the idle thread, which never ran while that was recorded."""
    hidden = Hidden(kernel, 0)
    switch = hidden.vocabulary.id(SWITCH, 2)
    hidden.inferred.following[hidden.inferred.ids == switch] = 0
    for fields, kind, cpu in zip(hidden.told(), hidden.inferred.ids, hidden.inferred.cpus.tolist(), strict=True):
        if kind == switch:
            assert fields["next_pid"]["value"] == "0"
            assert fields["next_comm"]["value"] == f"swapper/{cpu}"


def test_a_mend_has_the_column_and_without_texts_it_is_empty(kernel: Trace) -> None:
    hidden = Hidden(kernel, 2)
    mended = mend_trace(hidden.kept)
    assert mended.inferred.schema.equals(INFERRED)
    assert len(mended.inferred["fields"].combine_chunks().keys) > 50
    table = hidden.kept.table
    for column in ("args", "ret"):
        at = table.schema.get_field_index(column)
        table = table.set_column(at, table.schema.field(column), pa.nulls(len(table), pa.string()))
    bare = mend_trace(replace(hidden.kept, table=table))
    assert set(bare.inferred["fields"].to_pylist()[0]) == set()
    assert len(bare.inferred) == len(mended.inferred)


# shares, by counting


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), max_size=12), st.data())
def test_shares_are_those_that_are_counted(seen: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """By hand: the share of the wider surroundings counts as much as one value beside those of the narrower ones."""
    asked = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=4))
    known = [np.array([s[0] for s in seen], np.int64), np.array([s[0] * 10 + s[1] for s in seen], np.int64)]
    wanted = [np.array([a[0] for a in asked], np.int64), np.array([a[0] * 10 + a[1] for a in asked], np.int64)]
    value, p = likeliest(known, np.array([s[2] for s in seen], np.int64), wanted, wider=1.0)
    for (wide, narrow), v, sure in zip(asked, value.tolist(), p.tolist(), strict=True):

        def share(v: int, wide: int = wide, narrow: int = narrow) -> float:
            found = 0.0
            for own in ([s[2] for s in seen if s[0] == wide], [s[2] for s in seen if s[:2] == (wide, narrow)]):
                found = (own.count(v) + found) / (len(own) + 1) if own else found
            return found

        tops = set()
        for own in ([s[2] for s in seen if s[0] == wide], [s[2] for s in seen if s[:2] == (wide, narrow)]):
            tops |= {v for v, n in Counter(own).items() if n == max(Counter(own).values())}
        assert (v == -1) == (not tops)
        if tops:
            assert v in tops
            assert sure == pytest.approx(share(v))
            assert sure >= min(share(t) for t in tops) - 1e-9


# names, on made-up threads


def thread(rows: list[tuple[str, str, str, str | None]]) -> Trace:
    """Made up: a thread's events, one a microsecond: command, name, phase, result."""
    table = {
        "time_ns": [1000 * k for k in range(len(rows))],
        "cpu": [0] * len(rows),
        "tid": [int(r[0].split(":")[0]) for r in rows],
        "comm": [r[0].split(":")[1] for r in rows],
        "name": [r[1] for r in rows],
        "phase": [r[2] for r in rows],
        "args": [""] * len(rows),
        "ret": [r[3] for r in rows],
        "line": list(range(len(rows))),
    }
    return Trace(None, "made up", pa.table(table).cast(SCHEMA))


#: A shell (7) forks 8, which becomes git; 8 then ends.
STORY = [
    ("7:sh", "read", "enter", None),
    ("7:sh", "read", "exit", "1"),
    ("7:sh", "clone", "enter", None),
    ("7:sh", "clone", "exit", "8"),
    ("8:sh", "clone", "exit", "0"),
    ("8:sh", "dup2", "enter", None),
    ("8:sh", "dup2", "exit", "1"),
    ("8:sh", "execve", "enter", None),
    ("8:git", "execve", "exit", "0"),
    ("8:git", "brk", "enter", None),
    ("8:git", "brk", "exit", "99"),
    ("8:git", "exit_group", "enter", None),
]


@settings(max_examples=80, deadline=None)
@given(st.sets(st.integers(0, len(STORY) - 1), max_size=len(STORY) - 1))
def test_names_follow_exec(lost: set[int]) -> None:
    """Whatever is lost and inferred again: a name that is given is the right one, and it is given where anything of the
    thread survived on that side of the exec, or its parent's fork."""
    gone = sorted(lost)
    kept = thread([row for k, row in enumerate(STORY) if k not in lost])
    kept = replace(kept, table=thread(STORY).table.take(pa.array([k for k in range(len(STORY)) if k not in lost])))
    names = Names(kept)
    tids = np.array([int(STORY[k][0].split(":")[0]) for k in gone], np.int64)
    rows = np.array([sum(j not in lost for j in range(k)) - 0.5 for k in gone])
    phases = {"enter": 0, "exit": 1}
    borders = np.array([border(STORY[k][1], phases[STORY[k][2]]) for k in gone], np.int8)
    found = names.of(Moments(tids, np.array(gone, np.int64) * 1000, rows, borders))
    for k, code in zip(gone, found.tolist(), strict=True):
        tid, name = STORY[k][0].split(":")
        own = [j for j in range(len(STORY)) if j not in lost and STORY[j][0] == STORY[k][0]]
        if code >= 0:
            assert names.known[code] == name
        born = tid == "8" and 3 not in lost
        assert code >= 0 or not (own or (born and name == "sh"))


def test_a_name_without_a_known_exec_is_that_of_the_nearer_event() -> None:
    kept = thread([STORY[0], ("7:bash", "read", "exit", "1")])
    moments = Moments(np.array([7, 7]), np.array([300, 700]), np.array([0.5, 0.5]), np.zeros(2, np.int8))
    names = Names(kept)
    assert [names.known[c] for c in names.of(moments)] == ["sh", "bash"]


def test_what_is_never_looked_up_does_not_follow() -> None:
    """A tool that looks names up when it prints calls a thread git before it is."""
    kept = thread([(row[0].replace("8:sh", "8:git"), *row[1:]) for row in STORY if row[1] != "dup2"])
    names = Names(kept)
    assert not names.follow
    one = Moments(np.array([8]), np.array([5000]), np.array([4.5]), np.zeros(1, np.int8))
    assert names.known[names.of(one)[0]] == "git"


def test_borders() -> None:
    assert border(EXECUTED, 2) == border("execve", 1) == border("execveat", 1)
    assert len({border("execve", 0), border("execve", 1), border("read", 0)}) == 3


# descriptors, by a process that keeps to the kernel's promise


class Process:
    """Made up: what is open, and what it returned and closed."""

    def __init__(self) -> None:
        self.open = {0, 1, 2}

    def step(self, choice: int) -> tuple[int, int]:
        """What it does next, and with which descriptor."""
        if choice < 0 and self.open:
            number = sorted(self.open)[choice % len(self.open)]
            self.open.discard(number)
            return CLOSES, number
        if choice == 0:
            return RETURNS, NONE
        number = min(set(range(len(self.open) + 1)) - self.open)
        if choice > 20:
            number += choice
            was = number in self.open
            self.open.add(number)
            return (OPENS, NONE) if was else (OPENS, number)
        self.open.add(number)
        return RETURNS, number


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-9, 24), max_size=40), st.sets(st.integers(1, 40)))
def test_the_lowest_free_descriptor_is_told_as_the_kernel_promises(choices: list[int], lost: set[int]) -> None:
    """Once one is known all that follow are, whatever is lost of the calls that return them but that they succeeded."""
    process = Process()
    steps = [process.step(choice) for choice in (1, *choices)]
    count = len(steps)
    trace = thread([("7:a", "x", "instant", None)] * count)
    none = np.empty(0, np.int64)
    empty = Inferred(none, none, none, np.empty(0, np.float32), none, none, np.empty(0), np.empty(0, bool))
    together = Together(trace, np.zeros(count, np.int64), empty, np.empty(0, np.int32))
    does = np.array([what for what, _ in steps])
    numbers = np.array([LOWEST if k in lost and s[0] == RETURNS and s[1] >= 0 else s[1] for k, s in enumerate(steps)])
    found = lowest_free(together.line(together.tids), does, numbers, np.arange(count))
    for k, (what, number) in enumerate(steps):
        if what != RETURNS or k == 0:
            assert found[k] == -1
        elif number >= 0:
            assert found[k] == number


def plainly(whose: list[int], does: list[int], told: list[int]) -> list[int]:
    """What ``free.walk`` says, with sets."""
    found, low, above, free = [], -1, set[int](), set[int]()
    for k, (who, what, said) in enumerate(zip(whose, does, told, strict=True)):
        if k == 0 or who != whose[k - 1]:
            low, above, free = -1, set(), set()
        lowest = min(free) if free else low
        found.append(lowest if what == RETURNS else -1)
        number = lowest if said == LOWEST else said
        if number == NONE:
            continue
        if number < 0 or what == DISTURBS or (what == RETURNS and number != lowest):
            low, above, free = number + 1 if what == RETURNS and number >= 0 else -1, set(), set()
        elif what == CLOSES:
            above.discard(number)
            if number < low:
                free.add(number)
        else:
            free.discard(number)
            if number >= low >= 0:
                above.add(number)
                while low in above:
                    above.discard(low)
                    low += 1
    return found


@pytest.mark.parametrize(("threads", "numbers"), [(1, 5), (5, 50), (300, 2000)])
def test_many_descriptors_come_and_go(threads: int, numbers: int) -> None:
    """Compiled sets came to a halt there."""
    random, count = np.random.default_rng(threads), 20_000
    whose = np.sort(random.integers(0, threads, count))
    does = random.choice([RETURNS, OPENS, CLOSES, DISTURBS], count, p=[0.4, 0.2, 0.399, 0.001])
    told = random.integers(0, numbers, count)
    told[(does == RETURNS) & (random.random(count) < 0.9)] = LOWEST
    told[random.random(count) < 0.02] = NONE
    told[random.random(count) < 0.002] = UNKNOWN
    assert walk(whose, does, told).tolist() == plainly(whose.tolist(), does.tolist(), told.tolist())
    told[random.random(count) < 0.01] = 1 << 40
    assert len(walk(whose, does, told)) == count


def test_what_nobody_knows_makes_descriptors_unknown() -> None:
    does = np.array([RETURNS, RETURNS, CLOSES, RETURNS, RETURNS, RETURNS, DISTURBS, RETURNS])
    numbers = np.array([3, LOWEST, UNKNOWN, LOWEST, 3, LOWEST, 0, LOWEST])
    trace = thread([("7:a", "x", "instant", None)] * len(does))
    none = np.empty(0, np.int64)
    empty = Inferred(none, none, none, np.empty(0, np.float32), none, none, np.empty(0), np.empty(0, bool))
    together = Together(trace, np.zeros(len(does), np.int64), empty, np.empty(0, np.int32))
    found = lowest_free(together.line(together.tids), does, numbers, np.arange(len(does)))
    assert found.tolist() == [-1, 4, -1, -1, -1, 4, -1, -1]


# arguments


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        ("3, 7ffe05e307d0, 0, 7faeadca86e0, 7ffe05e307d0, 0", ("fd", 0), "3"),
        ("ffffff9c, 7fd5baa620b1, 80000, 0, 0, 5610565070ca", ("dfd", 0), "-100"),
        ("0, 2000, 3, 22, ffffffff, 0", ("prot", 2), "3"),
        ("7f00, 81, 0, 0, 0, ffffffffffffffff", ("op", 1), "129"),
        ("fd: 0x3, buf: 0x7ffe", ("fd", 0), "3"),
        ("dfd: CWD, filename: 0xa9a050b1", ("dfd", 0), "CWD"),
        ("fd=3, count=4096", ("fd", 0), "3"),
        ("3, 4096", ("fd", 0), None),
        ('3, "text", 10', ("fd", 0), None),
        ("", ("fd", 0), None),
    ],
)
def test_the_key_argument_is_found_by_its_name_or_its_place(text: str, key: tuple[str, int], told: str | None) -> None:
    """Texts as tracers print them."""
    assert key_texts(pa.array([text, None]), key).to_pylist() == [told, None]


@pytest.mark.long
def test_calls_say_what_they_are_about(kernel: Trace) -> None:
    """On a recording: nearly every key that is given is the one that the lost call had."""
    right = given = 0
    for seed in range(3):
        hidden = Hidden(kernel, seed)
        texts = kernel.table["args"].take(pa.array(hidden.rows)).to_pylist()
        names = kernel.table["name"].take(pa.array(hidden.rows)).to_pylist()
        for fields, row, name, text in zip(hidden.told(), hidden.rows.tolist(), names, texts, strict=True):
            if kernel.phase[row] == 0:
                assert fields.keys() <= {KEYS[name][0]} if name in KEYS else not fields
                for key, field in fields.items():
                    given += 1
                    right += key_texts(pa.array([text]), KEYS[name])[0].as_py() == field["value"]
                    assert key == KEYS[name][0]
    assert given > 100
    assert right > 0.95 * given


# lines, by walking along them


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=12), st.integers(-3, 3))
def test_lines_are_walked_along(events: list[tuple[int, bool]], step: int) -> None:
    trace = thread([(f"{who}:a", "x", "instant", None) for who, _ in events])
    none = np.empty(0, np.int64)
    empty = Inferred(none, none, none, np.empty(0, np.float32), none, none, np.empty(0), np.empty(0, bool))
    together = Together(trace, np.zeros(len(events), np.int64), empty, np.empty(0, np.int32))
    who: NDArray[np.int64] = together.tids
    line: Line = together.line(who)
    source = np.array([s for _, s in events])
    everyone = np.arange(len(events))
    own = {w: [k for k in everyone if who[k] == w] for w in set(who.tolist())}
    beside, latest, following = line.beside(everyone, step), line.latest(source), line.latest(source, ahead=True)
    for k in everyone:
        mine = own[int(who[k])]
        at = mine.index(k) + step
        assert beside[k] == (mine[at] if 0 <= at < len(mine) else -1)
        assert latest[k] == max([j for j in mine if j < k and source[j]], default=-1)
        assert following[k] == min([j for j in mine if j > k and source[j]], default=-1)
