"""The reference of the Python interface, made from its docstrings."""

from __future__ import annotations

import doctest
import inspect
import re
from dataclasses import fields, is_dataclass
from functools import cached_property
from typing import Any

import tracemend

#: What stands under each heading; a public name that is missing here is an error.
PARTS = {
    "Functions": (
        *("read", "scan", "advise", "mend", "figures", "over_fills", "evaluate"),
        *("read_overlay", "strip", "train", "load"),
    ),
    "What they give and take": (
        *("Trace", "Gap", "Scan", "Verdict", "Losses", "Advice", "Advices", "Mended", "Fill", "Options"),
        *("Figures", "OverFills", "Evaluation", "Imputer", "Restorer"),
    ),
    "For menders of your own": ("Mender", "Proposal", "Restored"),
    "Errors": ("TracemendError", "TraceError", "OptionError", "ModelError", "OutputError", "MissingError"),
}
#: Of these the methods are shown, too.
WITH_METHODS = ("Mended", "Imputer", "Mender", "Figures", "Trace", "Scan", "Advice", "Evaluation")


def reference() -> str:
    """Markdown: each public name with its signature and what its docstring says."""
    missing = set(tracemend.__all__) ^ {name for names in PARTS.values() for name in names}
    if missing:
        raise ValueError(f"not in the reference, or not public: {', '.join(sorted(missing))}")
    parts = []
    for title, names in PARTS.items():
        parts.append(f"## {title}\n")
        for name in names:
            thing = getattr(tracemend, name)
            parts += [f"### {name}\n", *_said(name, thing)]
            for method, held in _methods(thing) if name in WITH_METHODS else ():
                parts += [f"#### {name}.{method}\n", *_said(method, held)]
    return "\n".join(parts)


def _methods(kind: type) -> list[tuple[str, Any]]:
    """The public methods with a docstring of their own, in order."""
    held = {n: f for base in reversed(kind.__mro__) for n, f in vars(base).items() if inspect.isfunction(f)}
    return [(n, f) for n, f in held.items() if not n.startswith("_") and inspect.getdoc(f)]


def _said(name: str, thing: Any) -> list[str]:
    """The signature of what is called, and the docstring with its examples."""
    text = inspect.cleandoc(thing.__doc__ or "")
    called = not inspect.isclass(thing) or (name in ("Options", "Imputer"))
    signature = [f"```python\n{_signature(name, thing)}\n```\n"] if called else []
    return [*signature, *(_block(b) for b in text.split("\n\n")), *_held(thing)]


def _held(thing: Any) -> list[str]:
    """The fields and properties of a kind of thing."""
    if not inspect.isclass(thing) or issubclass(thing, Exception):
        return []
    own = [f.name for f in fields(thing)] if is_dataclass(thing) else []
    read = [n for base in thing.__mro__ for n, f in vars(base).items() if isinstance(f, property | cached_property)]
    names = [n for n in dict.fromkeys([*own, *read]) if not n.startswith("_")]
    return [f"Holds {', '.join(f'`{n}`' for n in names)}.\n"] if names else []


def _signature(name: str, thing: Any) -> str:
    """The call, on one line where it fits and a line a parameter where not."""
    found = inspect.signature(thing)
    given = [p for p in found.parameters.values() if p.name != "self"]
    gives = (
        ""
        if found.return_annotation in (found.empty, "None", None) or inspect.isclass(thing)
        else (f" -> {found.return_annotation}")
    )
    kept = [_parameter(p) for p in given]
    at = next((i for i, p in enumerate(given) if p.kind is p.KEYWORD_ONLY), None)
    if at is not None:
        kept.insert(at, "*")
    line = f"{name}({', '.join(kept)}){gives}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {p},\n" for p in kept) + f"){gives}"


def _parameter(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    default = parameter.default
    shown = (
        "..." if callable(default) or ("(" in repr(default)[:20] and not isinstance(default, tuple)) else repr(default)
    )
    return f"{parameter.name}: {parameter.annotation}" + ("" if default is parameter.empty else f" = {shown}")


def _block(text: str) -> str:
    """A paragraph of a docstring as Markdown; an example as code."""
    if doctest.DocTestParser().get_examples(text):
        return f"```pycon\n{text}\n```\n"
    lines = re.sub(r"``([^`]+)``", r"`\1`", text)
    named = re.sub(r"(^|(?<=[.;] ))([a-z]\w*(?:, [a-z]\w*)*): ", _named, lines, flags=re.M)
    return named.replace("*", r"\*").replace("<", "&lt;") + "\n"


def _named(match: re.Match[str]) -> str:
    """Names of parameters, as code."""
    return ", ".join(f"`{name}`" for name in match[2].split(", ")) + ": "
