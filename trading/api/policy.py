"""The role that each address of books and cycles asks for."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from helios.web.roles import READ, Policy

POLICY: Final[Policy] = MappingProxyType(
    {
        "book-list": {"GET": READ},
        "book-detail": {"GET": READ},
        "cycle-list": {"GET": READ},
        "cycle-detail": {"GET": READ},
    }
)
