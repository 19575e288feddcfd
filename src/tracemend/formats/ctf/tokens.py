"""The tokens of TSDL, the language of CTF's metadata: the text cut into them, and what reads them one by one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple, NoReturn

from tracemend.errors import TraceError


class Token(NamedTuple):
    """``kind``: word, number, string, sign, integer (the type, up to its closing brace) or end."""

    kind: str
    text: str
    line: int


#: Most of the metadata is integers' types, over and over the same few texts: each is one token.
INTEGER = r"(?P<integer>integer\s*\{[^{}\"'/]*\})|"
TOKENS = (
    r"(?P<blank>(?:\s|//[^\n]*|/\*.*?\*/)++)"
    r"|(?P<word>(?!L['\"])[A-Za-z_]\w*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+|\d+)(?:[uUlL]*)\b"
    r'|L?"(?P<string>(?:[^"\\\n]|\\.)*)"'
    r"|L?'(?P<character>(?:[^'\\\n]|\\.){1,64})'"
    r"|(?P<sign>\.\.\.|:=|[{}()\[\]<>;:,.=*+-])"
)
#: Digits of the longest number.
LONGEST_NUMBER = 1300
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def tokens(path: Path, text: str, line: int = 1, *, whole: bool = True) -> list[Token]:
    """Cut the text, which begins on a line, into tokens; raises TraceError with the line. ``whole``: types of integers
    stay so."""
    found, at = [], 0
    for match in re.compile(INTEGER * whole + TOKENS, re.DOTALL | re.ASCII).finditer(text):
        begin, kind = match.start(), match.lastgroup or ""
        if begin != at:
            break
        at = match.end()
        if kind == "blank":
            line += text.count("\n", begin, at)
            continue
        held = match[kind]
        if kind == "character":  # a number, as in C: of several characters their bytes
            kind, held = "number", str(int.from_bytes(unescape(held).encode()))
        found.append(Token(kind, held, line))
        if kind in ("integer", "string"):
            line += held.count("\n")
    if at < len(text):
        raise TraceError(path, line, f"no TSDL: {text[at : at + 40]!r}")
    return [*found, Token("end", "the end", line)]


def unescape(text: str) -> str:
    """What stands between the quotes of a string, with its escapes as the characters that they stand for."""

    def character(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] == "x" and len(code) > 1:
            return chr(int(code[1:], 16))
        return chr(int(code, 8)) if code[0] in "01234567" else ESCAPED.get(code, code)

    return ESCAPE.sub(character, text)


Value = int | str


class TokenReader:
    """Goes over the tokens from first to last; raises TraceError with the line where another one is expected."""

    def __init__(self, path: Path, found: list[Token]) -> None:
        self.path, self.tokens, self.at = path, found, 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def fail(self, message: str, line: int = 0) -> NoReturn:
        raise TraceError(self.path, line or self.token.line, message)

    def next(self) -> Token:
        token = self.token
        self.at += token.kind != "end"
        return token

    def accept(self, text: str) -> bool:
        """Pass over this token if it stands here."""
        kind, here, _ = self.tokens[self.at]
        if here != text or kind == "string":
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"{text!r} expected, not {self.token.text[:40]!r}")

    def word(self, what: str) -> str:
        if self.token.kind != "word":
            self.fail(f"{what} expected, not {self.token.text[:40]!r}")
        return self.next().text

    def integer(self) -> int:
        sign = -1 if self.accept("-") else 1
        self.accept("+")
        if self.token.kind != "number":
            self.fail(f"a number expected, not {self.token.text[:40]!r}")
        text = self.next().text
        if len(text) > LONGEST_NUMBER:
            self.fail("a number that no integer holds")
        octal = len(text) > 1 and text.isdigit() and text[0] == "0"
        try:
            return sign * int(text, 8 if octal else 0)
        except ValueError:
            self.fail(f"no number: {text[:40]!r}")

    def dotted(self) -> tuple[str, ...]:
        """A path: names with dots between them."""
        names = [self.word("a name")]
        while self.accept("."):
            names.append(self.word("a name"))
        return tuple(names)

    def value(self) -> Value:
        """A number, a string or a name (dotted)."""
        if self.token.kind == "string":
            text = ""
            while self.token.kind == "string":  # strings side by side are one
                text += unescape(self.next().text)
            return text
        return ".".join(self.dotted()) if self.token.kind == "word" else self.integer()
