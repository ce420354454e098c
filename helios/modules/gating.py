"""The gate in front of every worker: code runs in a process of its own first, whatever it does there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.conf import settings

from helios.modules import sandbox, testing
from helios.modules.models import ModuleVersion


def loads(version: ModuleVersion) -> str:
    """Import the code in a process of its own; empty, or why it cannot be loaded. Leaves no test history."""
    job = testing.job_of(version, {}, testing.SEED)
    ended = sandbox.run(testing.GATE, job, limits=testing.DEFAULTS, cache=Path(settings.VAR_DIR) / "cache")
    return testing.report_of(ended, version, ()).reason


def passes(version: ModuleVersion, suites: Sequence[str] | None, *, actor: str) -> str:
    """Run the suites that gate the slot (or `suites`) on the code; empty, or what failed first."""
    return testing.run_suites(version.module.name, version.label, suites, actor=actor).reason
