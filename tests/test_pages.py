"""The pages keep their word: commands run, options exist, links lead somewhere, JSON has the fields that they name.

A page's commands stand in blocks of ``sh``, which run in order in a folder of the page's own. A comment before a block
says what a reader has at that point (``<!-- given: COMMAND -->``, run as it stands), or what it takes to run the block
(``<!-- needs: root tracefs -->``). Where that isn't there, only the options are looked at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import lttng_kernel_made
import pytest
from commands import run
from conftest import ROOT, recorders
from docs.commands import commands
from heads import head

from tracemend.formats import read

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Files of text with links, besides.
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "recordings" / "README.md", ROOT / "tests" / "data" / "README.md"]
#: What a block may need. ``machine``: it would record the whole machine, or never end.
NEVER = {"machine", "network", "windows", "hours", "lttng-modules"}
TOOLS = {"perf", "strace", "trace-cmd", "perfetto", "babeltrace2"}
#: Commands that have commands.
GROUPS = ("datasets", "library")
#: ``scan`` and ``advise`` say by their exit code what they found, all others that they are done.
FOUND = re.compile(r"tracemend (scan|advise)\b")
STEP = re.compile(r"<!-- (given|needs): (.+?) -->|^```sh\n(.*?)^```", re.S | re.M)


@dataclass(frozen=True)
class Step:
    """Commands of a page, what they need, and whether a reader is shown them."""

    lines: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    shown: bool = True

    def script(self) -> str:
        """The commands in one shell; it ends with the first that fails, which it names."""
        checked = [
            f"{{ {line}\n}} || end $? {'found' if FOUND.search(line) else 'done'} {shlex.quote(line)}"
            for line in self.lines
            if line.strip()
        ]
        end = 'end() { case $1:$2 in 3:found|4:found) ;; *) echo "exit code $1: $3" >&2; exit 1;; esac; }'
        return "\n".join([end, *checked])


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    needs: frozenset[str] = frozenset()
    for kind, said, block in STEP.findall(text):
        if kind == "given":
            found.append(Step((said,), shown=False))
        elif kind == "needs":
            needs = frozenset(said.split())
        else:
            found.append(Step(tuple(block.replace("\\\n", " ").splitlines()), needs))
            needs = frozenset()
    return found


def parts(pages: list[Path]) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@cache
def known() -> dict[str, Any]:
    return dict(commands())


def told(text: str) -> Iterator[list[str]]:
    """The words of each command line of tracemend that a page shows, in blocks or between backquotes."""
    shown = [line for block in re.findall(r"^```yaml\n(.*?)^```", text, re.S | re.M) for line in block.splitlines()]
    text = re.sub(r"^```(?!sh).*?^```", "", text, flags=re.S | re.M)  # other languages
    shown += [line for step in steps(text) for line in step.lines]
    shown += re.findall(r"^    (?:\$ )?(\S*.*\btracemend [a-z].*)$", text, re.M)
    shown += re.findall(r"`(tracemend [^`\n]+)`", text)
    for line in shown:
        for part in re.split(r"&&|[|;>]", line.split(" #")[0]):
            if found := re.search(r"(?:^|\s)tracemend ([a-z].*)", part):
                yield re.sub(r"[\[\]\"'()$]", " ", found[1]).split()


@pytest.mark.parametrize("page", parts(PAGES))
def test_every_command_and_option_exists(page: Path) -> None:
    for words in told(page.read_text()):
        name = " ".join(["tracemend", *words[: 2 if words[0] in GROUPS and words[1:] else 1]])
        if name.removeprefix("tracemend ") in GROUPS:
            continue
        assert name in known(), f"{page.name}: {name}"
        options = {o for p in known()[name].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in words[: words.index("--")] if "--" in words else words:
            if word.startswith("-") and word != "-":
                assert word.split("=")[0].rstrip(".,") in options, f"{page.name}: {name} {word}"


@pytest.mark.parametrize("page", parts(PAGES))
def test_blocks_need_what_a_test_understands(page: Path) -> None:
    for step in steps(page.read_text()):
        assert step.needs <= NEVER | TOOLS | {"root", "tracefs"}, step


def there(needs: frozenset[str]) -> bool:
    has = {tool for tool in TOOLS if shutil.which(tool)}
    has |= {"root"} if os.geteuid() == 0 else set()
    has |= {"tracefs"} if os.access("/sys/kernel/tracing/instances", os.W_OK) else set()
    return needs <= has


@pytest.mark.long
@recorders
@pytest.mark.parametrize("page", parts([p for p in PAGES if any(s.shown for s in steps(p.read_text()))]))
def test_commands_run(page: Path, tmp_path: Path) -> None:
    """Block by block, as a reader would, with the beginnings of the repository's recordings for the whole of them."""
    work, program = tmp_path / "work", tmp_path / "bin" / "tracemend"
    (work / "recordings").mkdir(parents=True)
    (work / "tests").symlink_to(ROOT / "tests")
    for name in ("shell", "redis", "deploy"):
        head(name, 1800, work / "recordings" / name)
    if (
        page.stem == "lttng"
    ):  # no program with tracepoints lies here: a real recording in a made-up folder of LTTng's form
        lttng_kernel_made.write(read(work / "recordings" / "shell" / "lossy.txt"), work / "run")
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tracemend "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    environment["TRACEMEND_LIBRARY"] = str(tmp_path / "library")
    for step in steps(page.read_text()):
        if there(step.needs):
            command = ["bash", "-o", "pipefail", "-c", step.script()]
            done = subprocess.run(
                command, cwd=work, env=environment, capture_output=True, text=True, check=False, timeout=600
            )
            assert done.returncode == 0, done.stderr


def slug(heading: str) -> str:
    """The anchor of a heading, as forges and the site make it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading).strip().lower()
    return re.sub(r"[^\w -]", "", plain).replace(" ", "-")


@cache
def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", text, re.M)}


@pytest.mark.parametrize("page", parts(LINKED))
def test_no_link_is_dead(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.resolve()), link


def test_every_page_is_found_from_another_one() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if "://" not in link
    }
    assert set((ROOT / "docs").rglob("*.md")) - linked - {ROOT / "docs" / "index.md"} == set()


#: Pages that answer a question by measurement.
RESULTS = [
    *(ROOT / "docs" / "results").glob("*.md"),
    *(ROOT / "docs" / f"{name}.md" for name in ("authentic", "figures", "kernel", "scale", "ctf", "study")),
]
MOST_ROWS = 10


@pytest.mark.parametrize("page", parts(sorted(RESULTS)))
def test_results_begin_with_an_answer_and_a_picture_and_long_tables_are_elsewhere(page: Path) -> None:
    _, answer, picture, *rest = re.split(r"\n\n+", page.read_text())
    assert answer.startswith("**In short: ")
    assert answer.endswith("**")
    assert re.fullmatch(r"!\[[^\]]{20,}\]\((?:\.\./)?figures/[a-z0-9-]+\.svg\)", picture)
    made = re.findall(r"<!-- results: .+? -->\n(.*?)<!-- end -->", "\n\n".join(rest), re.S)
    for table in re.findall(r"(?:^\|.*\n)+", "\n".join(made), re.M):
        assert len(table.splitlines()) - 2 <= MOST_ROWS, table[:80]


def test_every_page_but_full_tables_stands_in_the_navigation() -> None:
    def pages(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        else:
            for one in part.values() if isinstance(part, dict) else part:
                yield from pages(one)

    docs = ROOT / "docs"
    listed = list(pages(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    assert sorted(listed) == sorted(
        str(page.relative_to(docs)) for page in docs.rglob("*.md") if page.parent.name != "tables"
    )


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    build = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "out" / "site" / "tracers" / "ftrace.html").read_text()
    assert "LOST 504 EVENTS" in page
    raw = [p.name for p in (tmp_path / "out" / "site").rglob("*.html") if "| ---" in p.read_text()]
    assert raw == []  # tables that were taken for text
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?://[^\"]*", page) == []


@pytest.mark.parametrize(
    ("verb", "page"),
    [
        ("scan", "formats.md"),
        ("advise", "json.md"),
        *(pytest.param(v, "json.md", marks=pytest.mark.long) for v in ("mend", "figures")),
    ],
)
def test_fields_of_json_are_those_that_the_page_names(verb: str, page: str, tmp_path: Path) -> None:
    folder = head("shell", 1800, tmp_path / "shell")
    more = ["-o", str(tmp_path / "out")] if verb == "mend" else []
    said = json.loads(run(verb, folder / "lossy.txt", "--json", *more).stdout)
    text = (ROOT / "docs" / page).read_text()
    part = re.split(r"^## ", text, flags=re.M)
    here = next(p for p in part if p.startswith(verb) or (verb == "scan" and p.startswith("The JSON of scan")))
    rows = {name for cells in re.findall(r"^\| (`[^|]+) \|", here, re.M) for name in re.findall(r"`(\w+)`", cells)}
    assert set(said) == rows
