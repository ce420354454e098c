"""The base of our commands: what one refuses may name what strangers stored, and a terminal obeys nothing of it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, SystemCheckError

from helios.terminal import shown


class PlainCommand(BaseCommand):
    """A command whose mistakes are sentences without control characters."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """As Django's."""
        try:
            return super().execute(*args, **options)
        except SystemCheckError:
            raise  # ours, in colours
        except CommandError as error:
            error.args = (shown(str(error)),)
            raise
