"""What this server made, by its looks: tokens and session ids end in a mark that nobody else can add.

It opens nothing. It tells what may be ours from what anybody makes up, without a question to the database.
"""

from __future__ import annotations

import re
from typing import Final

from django.utils.crypto import constant_time_compare, salted_hmac

LETTERS: Final = 16  # 64 bits
_LOOKS_MARKED: Final = re.compile(r"[\w:-]{17,2064}", re.ASCII)  # the longest is the cookie of a browser


def marked(text: str) -> str:
    """The text with its mark."""
    return text + salted_hmac("helios.web.marks", text).hexdigest()[:LETTERS]


def is_marked(text: str) -> bool:
    """Whether a text ends in its mark."""
    return bool(_LOOKS_MARKED.fullmatch(text)) and constant_time_compare(marked(text[:-LETTERS]), text)
