"""How much a trace may have lost before ``scan`` ends with a code that fails a build."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import typer

from tracemend.cli.terminal import CANT_TELL, GAPS_FOUND

if TYPE_CHECKING:
    from tracemend.losses.verdict import Losses, Verdict


def allowance(text: str | None) -> int | float | None:
    """How much may be lost: a number of events (int) or a share of all (float); None where nothing was said."""
    if text is None:
        return None
    if re.fullmatch(r"\d{1,18}", text):
        return int(text)
    if re.fullmatch(r"\d{1,3}(\.\d{1,9})?%", text) and float(text[:-1]) <= 100:
        return float(text[:-1]) / 100
    meant = ""
    if re.fullmatch(r"0?\.\d{1,9}", text):
        meant = f"; did you mean {(Decimal(text) * 100).normalize():f}%?"
    raise typer.BadParameter(f"neither a number of events nor a share (1%): {text!r}{meant}", param_hint="--max-lost")


def exit_code(said: Verdict, losses: Losses, kept: int, allowed: int | float | None, accept_unknown: bool) -> int:
    """The exit code of a trace of which so many events were kept. A loss without a count is more than any number
    allows."""
    from tracemend.losses.verdict import COMPLETE, UNKNOWN

    if said.word == COMPLETE or (said.word == UNKNOWN and accept_unknown):
        return 0
    if said.word == UNKNOWN:
        return CANT_TELL
    if allowed is None or losses.uncounted:
        return GAPS_FOUND
    much = losses.events if isinstance(allowed, int) else losses.share(kept)
    return 0 if much <= allowed else GAPS_FOUND
