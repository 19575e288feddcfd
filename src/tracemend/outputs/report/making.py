"""How a mended trace was made, in words, and the commands that make it and its page again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from tracemend.mending.mended import Result
from tracemend.recording.pairs import Pair
from tracemend.trace.evidence import plural
from tracemend.trace.syscalls import DEFAULT_ARCH

#: Options of ``mend`` that are told by how it was made, and what each is if nobody gives it.
_USUAL = {"model": "mosaic", "seed": 0, "unknown": "leave", "refuse": 0, "hypotheses": 0, "adapt": 0}
#: Outputs that are written only if they are asked for.
ASKED = ("merged", "perfetto")


def again(mended: Result, pair: Pair | None, outputs: Sequence[str], counted: bool) -> list[str]:
    """The commands that make it again, as far as how it was made tells them: all that its bytes depend on but the
    format, if one was named. counted: there are figures."""
    made, options = mended.provenance, _options(mended)
    # of a network only its digest is known, not the folder
    asked = {"model": "MODEL" if made.get("model_sha256") else made.get("model"), "seed": made.get("seed")} | options
    words = [word for k, usual in _USUAL.items() if asked.get(k, usual) != usual for word in (f"--{k}", str(asked[k]))]
    if options.get("suits", "positions") != "positions":
        words += ["--for", str(options["suits"])]
    words += [word for path in options.get("examples") or () for word in ("--example", str(path))]
    if options.get("more_examples"):
        words.append("--more-examples")
    if options.get("shipped") == 0 and mended.trace.gaps:
        words.append("--alone")
    if any(gap.known == "suspected" for gap in mended.trace.gaps):
        words.append("--suspect")
    if options.get("arch", DEFAULT_ARCH) != DEFAULT_ARCH:
        words += ["--arch", str(options["arch"])]
    if mended.trace.partial is not None:
        words.append("--window-only")
    if (budget := options.get("budget")) is not None:
        words += ["--budget", f"{budget['seconds']:g}"]
    words += [f"--{name}" for name in ASKED if name in outputs]
    could = asked["model"] == "mosaic" and mended.trace.partial is None
    if could and mended.trace.gaps and not counted:
        words.append("--no-figures")
    commands = [shlex.join(["tracemend", "mend", str(made.get("input") or "TRACE"), "-o", "OUT", *words])]
    if pair is not None:
        truth = str(pair.complete.path or "COMPLETE")
        commands.append(shlex.join(["tracemend", "report", "OUT", "--truth", truth, "-o", "PAGE.html"]))
    return commands


def told(mended: Result) -> list[tuple[str, str]]:
    """What it was made with: of each thing its name, and what there is to say of it."""
    options = dict(_options(mended))
    rows = [("Copied from", _sources(options))]
    unknown = options.pop("unknown", "leave")
    left = {"leave": "stay open", "estimate": "filled; how many events they lost is an estimate"}
    rows.append(("Gaps without a count", left.get(unknown, unknown)))
    refuse = options.pop("refuse", 0)
    rows.append(("Refused", f"fills with a mean confidence below {refuse:g}" if refuse else "no fill"))
    if options.pop("suits", "positions") != "positions":
        rows.append(("To be right", "how often each event occurs, rather than each event at its position"))
    if drawn := options.pop("hypotheses", 0):
        rows.append(("Also drawn", f"{plural(drawn, 'other fill')} of each gap"))
    rows += _learnt(options)
    if (arch := options.pop("arch", DEFAULT_ARCH)) != DEFAULT_ARCH:
        rows.append(("System calls of", arch))
    if (pieces := options.pop("pieces", 1)) > 1:
        rows.append(("Mended in", f"{pieces:,} pieces, one after the other"))
    if budget := options.pop("budget", None):
        late = plural(budget["gaps_after"], "gap")
        rows.append(("Time", f"{budget['seconds']:g} s; {late} came after that and were filled by the lookup"))
    return rows + [(name, json.dumps(value)) for name, value in options.items()]


def _options(mended: Result) -> dict[str, Any]:
    return mended.provenance.get("options") or {}


def _sources(options: dict[str, Any]) -> str:
    """What there was to copy from; takes it out of the options."""
    shipped, own, more = (options.pop(key, None) for key in ("shipped", "library", "more_examples"))
    programs = options.pop("programs", None)
    sources = ["the parts of this trace that nothing is missing in"]
    if shipped:
        among = f" of {', '.join(e['name'] for e in programs)}" if programs else ""
        which = "that come with tracemend" + (", those of many more programs among them" if more else "")
        sources.append(f"the recordings{among} {which} ({plural(shipped, 'event')})")
    if own:
        sources.append(f"of your library {', '.join(e['name'] for e in own)}")
    return "; ".join([*sources, *options.pop("examples", ())])


def _learnt(options: dict[str, Any]) -> list[tuple[str, str]]:
    """What was learnt from the trace itself; takes it out of the options."""
    seconds, adapted, tuned = options.pop("adapt", 0), options.pop("adapted", None), options.pop("tuned", None)
    if not seconds:
        return []
    found = []
    if adapted:
        found.append(f"{plural(adapted['trials'], 'trial')} of how readily a copy goes on elsewhere")
    if tuned:
        found.append(f"{plural(tuned['steps'], 'step')} of training")
    return [("Learnt from this trace", f"for at most {seconds:g} s" + (f": {', '.join(found)}" if found else ""))]
