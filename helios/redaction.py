"""What a line for people may show: no secret, nothing that a terminal obeys, and nothing that looks like another line.

Everything here takes time in proportion to its text: a line holds what strangers send, and whoever logs waits for it.
"""

from __future__ import annotations

import codecs
import html
import json
import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"
LONGEST: Final = 2_000  # letters of one value that a line shows

# Of a URL up to the colon before its password; a port and a path are no password.
_LOGIN = re.compile(r"(?<=\w)://[^\s:/@]*(?=:(?!\d+(?:[/?#\s]|$)))")
_END_OF_WORD = re.compile(r"[\s\"']|\Z")
_NAMES_OF_SECRETS = ("key", "secret", "passw", "token", "authorization")
_NAMED_SECRET = re.compile(
    r"(?i)((?:api|private|secret|access|signing)[_-]?key|secret|password|passwd|token|authorization)"
    r"""(["']?\s*[:=]\s*["']?)((?:bearer|token|basic)\s+)?[^\s"',;&}\\]+"""
)
_BEARER = re.compile(r"(?i)\b(bearer)\s+[\w.~+/=-]{8,}")
_API_KEY = re.compile(r"\bsk-[\w-]{16,}|\bhelios_[\w-]{40,}")

_escaped = codecs.getencoder("unicode_escape")  # found now: a process that is out of files finds none

Redactor = Callable[[str], str]


def redactor(secrets: Iterable[str]) -> Redactor:
    """A function that masks the given values and whatever looks like a key, a password or a token."""
    known = sorted({form for value in secrets for form in _spellings(value)}, key=len, reverse=True)

    def redact(line: str) -> str:
        for value in known:
            if value in line:
                line = line.replace(value, MASK)
        line = _without_logins(line)
        folded = line.casefold()
        if any(name in folded for name in _NAMES_OF_SECRETS):
            line = _NAMED_SECRET.sub(rf"\1\2{MASK}", line)
        if "bearer" in folded:
            line = _BEARER.sub(rf"\1 {MASK}", line)
        return _API_KEY.sub(MASK, line)

    return redact


def printable(text: str) -> str:
    """The text in one line of printable letters; any other is written as its escape, as in Python."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter)[0].decode("ascii") for letter in text)


def shortened(value: object, longest: int = LONGEST) -> str:
    """A value as text, cut where it is long."""
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}... ({len(text)} letters)"


def _without_logins(line: str) -> str:
    """Passwords of URLs masked up to the last @ of their word, as a password may hold / and @."""
    if "://" not in line or "@" not in line:
        return line
    parts, done, end, last_at = [], 0, 0, -1
    for login in _LOGIN.finditer(line):
        start = login.end() + 1
        if start >= end and (word := _END_OF_WORD.search(line, start)):  # each word is looked through once
            end = word.start()
            last_at = line.rfind("@", start, end)
        if last_at > start >= done:
            parts += [line[done:start], MASK]
            done = last_at
    return "".join([*parts, line[done:]])


def _spellings(value: str) -> set[str]:
    """How a secret is written in texts, JSON, Python's reprs, HTML and URLs."""
    encoded = {quote(value, safe=safe, errors="replace") for safe in ("", "/")}
    encoded |= {quote_plus(value, errors="replace")}
    encoded |= {re.sub("%..", lambda found: found[0].lower(), each) for each in encoded}
    return {value, printable(value), json.dumps(value)[1:-1], repr(value)[1:-1], html.escape(value), *encoded}
