"""Platform events: what happened, when, to what."""

from __future__ import annotations

from typing import Any


def record(
    *, kind: str, source: str, subject: str = "", severity: str = "info", data: dict[str, Any] | None = None
) -> None:
    """Append one event to `system_events`, in the caller's transaction.

    `kind` is `noun.verb` in lower case; `ValueError` where kind or severity is not of the known form.
    """
    from helios.events import services  # noqa: PLC0415 - models load after the apps

    services.record(kind=kind, source=source, subject=subject, severity=severity, data=data)
