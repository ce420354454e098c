"""What a command of `manage.py` says, run in this process."""

from __future__ import annotations

import io
import json
from typing import Any

from django.core.management import call_command


def printed(*words: str) -> str:
    """All that it prints."""
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def answered(*words: str) -> Any:
    """The JSON that it prints where it is asked for some."""
    return json.loads(printed(*words, "--json"))
