"""Platform events: what happened, when, to what."""

from __future__ import annotations

import re
from typing import Any, Final

KIND: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")


def record(
    *, kind: str, source: str, subject: str = "", severity: str = "info", data: dict[str, Any] | None = None
) -> None:
    """Append one event to `system_events`, in the caller's transaction; the one way a row gets there.

    Longer subjects are cut to the column's 128 characters. Raises: `ValueError` where `kind` is not `noun.verb` in
    lower case or `severity` is not a known one.
    """
    from helios.events.models import SystemEvent  # noqa: PLC0415 - models load after the apps

    if not KIND.fullmatch(kind):
        raise ValueError(f"kind must read like flag.changed, was {kind!r}")
    if severity not in SystemEvent.Severity.values:
        raise ValueError(f"severity must be one of {', '.join(SystemEvent.Severity.values)}, was {severity!r}")
    SystemEvent.objects.create(kind=kind, source=source, subject=subject[:128], severity=severity, data=data or {})
