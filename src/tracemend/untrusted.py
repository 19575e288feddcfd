"""What comes from outside and could do harm: text that is shown, JSON that is parsed."""

from __future__ import annotations

import json
import re
from typing import Any

#: Control characters (C0, DEL, C1), lone surrogates, and what turns the direction of text or breaks lines without
#: being seen.
HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]"
)
#: JSON of ours is never nested so deep.
DEEPEST = 100


def printable(text: str) -> str:
    r"""Text as it may be shown: every harmful character spelt out, an escape as ``\x1b``, so that none acts."""
    return HARMFUL.sub(_spelt, text)


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_of(text: str | bytes) -> Any:
    """The document. Raises ValueError for what is no JSON, is no text, or is nested too deep."""
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    layer = [document]
    for _ in range(DEEPEST):
        layer = [v for d in layer if isinstance(d, dict | list) for v in (d.values() if isinstance(d, dict) else d)]
        if not layer:
            return document
    raise ValueError("JSON that is nested too deep")


def json_text(document: object) -> str:
    """The document on one line of ASCII without a control character. Raises ValueError for infinity."""
    return json.dumps(document, allow_nan=False).replace("\x7f", "\\u007f")
