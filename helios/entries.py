"""The texts that people list: one rule of what stands around an entry, and what may not stand inside it.

What surrounds an entry (blanks, tabs, line breaks, no-break spaces, zero-width characters) is never meant, and an entry
that keeps it matches nothing. Inside one, whatever cannot be seen is refused. Case counts and is kept.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import dropwhile

MAX_REASON = 200
# What cannot be seen, turns the direction of writing, or joins: of Unicode's category Cf, what 16 bits hold; the few
# above are signs of dead scripts, of music and of tags, which no pattern of JSON Schema can name: `is_one_line` asks.
_FORMAT = (
    r"\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
)
ONE_LINE = rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029{_FORMAT}]*\Z"
NOT_ONE_LINE = "must be one line without control characters, was not"
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control, format (zero-width), half characters, line and paragraph breaks


def storable(text: str) -> bool:
    """Whether a database can hold the text: no NUL, and no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def is_one_line(text: str) -> bool:
    """Whether a text is one line without what cannot be seen, as far as the pattern can say and beyond."""
    above = (letter for letter in text if letter > "\uffff")
    return re.match(ONE_LINE, text) is not None and all(unicodedata.category(letter) != "Cf" for letter in above)


def reason(text: str) -> str:
    """Why a person changes something, the same by every way in. ValueError: `must be ..., was ...`."""
    if len(text) > MAX_REASON:
        raise ValueError(f"must have at most {MAX_REASON} letters, had {len(text)}")
    if not is_one_line(text):
        raise ValueError(NOT_ONE_LINE)
    if not storable(text):
        raise ValueError("must be text that can be stored, held half a character")
    return text


def whole(text: str) -> int | None:
    """The whole number that a text writes in at most 18 digits, which any column takes; None for other texts."""
    return int(text) if _WHOLE.fullmatch(text) else None


def trimmed(text: str) -> str:
    """The text without the blanks and the invisible characters around it."""
    front = "".join(dropwhile(_is_blank, text))
    return "".join(dropwhile(_is_blank, reversed(front)))[::-1]


def line(text: str) -> str:
    """The text trimmed: one line of visible letters, or empty where it was. ValueError: `must be ..., was ...`."""
    found = trimmed(text)
    if text and not found:
        raise ValueError(f"must not be blank, was {quoted(text)}")
    if any(_is_blank(letter) and letter != " " for letter in found):
        raise ValueError(f"must be one line of visible letters, was {quoted(text)}")
    return found


def entry(text: str) -> str:
    """One entry of a list: a line that is not empty and holds no comma. ValueError: `must be ..., was ...`."""
    found = line(text)
    if not found:
        raise ValueError("must not be empty, was ''")
    if "," in found:
        raise ValueError(f"must be one entry without a comma, was {quoted(text)}")
    return found


def parts(text: str) -> list[str]:
    """What stands between the commas, trimmed, without what is blank."""
    return [found for each in text.split(",") if (found := trimmed(each))]


def split(text: str) -> list[str]:
    """The entries of a list that was typed with commas between them; ValueError as for `entry`."""
    return [entry(part) for part in parts(text)]


def quoted(text: str) -> str:
    """A text as an error shows it: what cannot be seen by its number, and not at any length."""
    quoted = ascii(text) if any(_is_blank(letter) and letter != " " for letter in text) else repr(text)
    return quoted if len(quoted) <= 80 else f"{quoted[:77]}..."


def _is_blank(letter: str) -> bool:
    return letter.isspace() or unicodedata.category(letter) in _UNSEEN
