"""The role that each address of books and cycles asks for."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from helios.web.roles import READ, TO_LIVE, WRITE, Policy

POLICY: Final[Policy] = MappingProxyType(
    {
        "book-list": {"GET": READ},
        "book-detail": {"GET": READ},
        "book-halt": {"POST": WRITE},
        "book-reduce": {"POST": WRITE},
        "book-stop": {"POST": WRITE},
        "book-resume": {"POST": TO_LIVE},
        "book-start": {"POST": TO_LIVE},
        "cycle-list": {"GET": READ},
        "cycle-detail": {"GET": READ},
        "cycle-end": {"POST": WRITE},
    }
)
