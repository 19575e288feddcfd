"""What ``--help`` says besides each command's own words: the commands in groups, examples, exit codes."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from typer.core import TyperCommand, TyperGroup

#: What some commands end with besides 0 to 2, too.
EXIT_CODES = """\b
Exit codes:
  0    done; scan: the trace is complete
  1    an error, told in one line
  2    a wrong command line
  3    scan, record: events were lost
  4    scan: nobody can tell whether events were lost
  130  stopped by Ctrl-C"""

#: What a list of commands says of each: a line that fits 60 columns.
SHORT = {
    "scan": "Say what was lost, or that nobody can tell.",
    "advise": "Say which size of buffer suffices.",
    "show": "Show a mended trace here, gap by gap.",
    "view": "Show it in Perfetto's viewer, on this machine.",
    "formats": "List the formats that can be read.",
    "mend": "Fill the gaps with inferred events.",
    "strip": "Give back the original trace.",
    "babeltrace": "Say where babeltrace2's plug-in is.",
    "figures": "Say how many calls there probably were.",
    "evaluate": "Compare fills with what was lost.",
    "record": "Record what a command does.",
    "train": "Train a network on traces.",
    "recipes": "List the networks to train.",
    "experiment": "Score menders on many data sets.",
    "report": "Make a mended trace's report again, or tables of results.",
    "list": "List them.",
    "fetch": "Bring them from their homes.",
    "audit": "Say how alike their parts are.",
    "add": "Add a recording.",
    "remove": "Remove a recording.",
    "like": "Say which recordings a trace is like.",
}

#: What an option takes, by the type of its value.
TAKES = {"int range": "N", "float range": "X", "path": "PATH", "str": "NAME"}

#: By command: what to type, and what for.
EXAMPLES: dict[str, dict[str, str]] = {
    "scan": {
        "tracemend scan trace.txt": "what was lost, where, whose",
        "tracemend scan traces/ --max-lost 1%": "in CI: fail if a trace lost more",
        "sudo cat /sys/kernel/tracing/trace_pipe | tracemend scan - --follow": "say so as soon as it happens",
    },
    "advise": {"tracemend advise trace.txt --buffer-kb 1408": "which size would have sufficed"},
    "mend": {
        "tracemend mend trace.txt -o out": "then: tracemend show out, or open out/report.html",
        "tracemend mend trace.txt -o out --example complete.txt": "copy from a recording of yours, too",
        "tracemend mend trace.txt -o out --merged --perfetto": "also to look at in other programs",
    },
    "show": {
        "tracemend show out": "when events were lost, and the worst gaps",
        "tracemend show out --gap 7": "one gap, event by event",
    },
    "view": {
        "tracemend view out": "in the web browser, until Ctrl-C",
        "tracemend view out --no-browser": "say the address alone, as on another machine",
    },
    "figures": {
        "tracemend figures trace.txt": "how often each call there probably was",
        "tracemend figures trace.txt --by thread --span 12.5..13": "of one half second, by thread",
    },
    "evaluate": {"tracemend evaluate lossy.txt complete.txt": "of two recordings of the same run"},
    "record": {
        "sudo tracemend record -o run.parquet -- make": "all system calls of a command",
        "sudo tracemend record --pair -o pair -- make": "twice at once: completely, and with losses",
    },
    "strip": {"tracemend strip out -o original.txt": "the same bytes as before"},
    "train": {"tracemend train a.parquet b.parquet -o model": "then: tracemend mend trace.txt -o out --model model"},
    "experiment": {"tracemend experiment experiments/honest.toml --dry-run": "what there is to do"},
    "report": {"tracemend report honest.jsonl -o tables": "tables.md, tables.csv"},
    "babeltrace": {'babeltrace2 --plugin-path "$(tracemend babeltrace)" out/merged': "read both, original and fills"},
    "library add": {
        "tracemend library add good.txt": "from now on mend copies from it, where a trace is like it",
        "tracemend library add good.txt --name shop": "under a name of its own",
    },
    "library list": {"tracemend library list": "what there is, and where it lies"},
    "library remove": {"tracemend library remove shop": "by the name that list shows"},
    "library like": {"tracemend library like trace.txt": "which recordings hold most of it"},
    "datasets list": {"tracemend datasets list": "names, terms, whom to cite"},
    "datasets fetch": {"tracemend datasets fetch pts/apache": "one of them, from its home"},
    "datasets audit": {"tracemend datasets audit pts/apache": "how much of its test part was seen in training"},
}


def examples(name: str) -> str | None:
    """What stands below a command's options."""
    lines = [f"  {typed}\n      {meant}" for typed, meant in EXAMPLES.get(name, {}).items()]
    return "\n".join(["\b", "Examples:" if len(lines) > 1 else "Example:", *lines]) if lines else None


class Worded(TyperCommand):
    """A command whose options say in words what they take."""

    def __init__(self, name: str | None, **given: Any) -> None:
        super().__init__(name, **given)
        for parameter in self.params:
            if parameter.param_type_name == "option" and parameter.metavar is None:
                parameter.metavar = TAKES.get(parameter.type.name)


class Grouped(TyperGroup):
    """Commands that ``--help`` lists in the groups that they name as their panel."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section a group, in the order of the commands."""
        commands = [(name, command) for name in self.list_commands(ctx) if (command := self.get_command(ctx, name))]
        width = max(len(name) for name, _ in commands)
        for title, held in groupby(commands, key=lambda c: str(getattr(c[1], "rich_help_panel", None) or "Commands")):
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", SHORT.get(name) or command.help) for name, command in held])
