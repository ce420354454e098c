"""What draws tables for people."""

from __future__ import annotations

import os
from typing import Any

from rich import console, table
from rich.text import Text

from helios.terminal import shown

UNBROKEN = 10_000  # letters of a line where nobody's screen ends it


class Console(console.Console):
    """Rich's, for texts that others wrote: they are no markup, and hold nothing that a terminal obeys."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not (self.is_terminal or "width" in options or "COLUMNS" in os.environ):
            self.width = UNBROKEN

    def render_str(self, text: str, **options: Any) -> Text:
        """As Rich's; every text that is printed, a cell, a title or a header comes through here."""
        return super().render_str(shown(text), **options)


class Table(table.Table):
    """Rich's, where a terminal too narrow for a word breaks it over lines rather than cutting it off."""

    def add_column(self, *header: Any, **options: Any) -> None:
        """As Rich's."""
        super().add_column(*header, **{"overflow": "fold", **options})
