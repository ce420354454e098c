"""Has the machine room to go on?"""

from __future__ import annotations

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity

_MIB = 1024**2


def disk(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """DISK_LOW: little room is left where Helios keeps its files."""
    return [
        Finding(
            code="DISK_LOW",
            severity=Severity.CRITICAL if volume.free < limits.disk_critical_bytes else Severity.WARNING,
            subject=volume.folder,
            message=f"{volume.free // _MIB} MiB of {volume.total // _MIB} MiB are free at {volume.folder}",
            observed=f"{volume.free // _MIB} MiB",
            limit=f"{limits.disk_warning_bytes // _MIB} MiB",
        )
        for volume in snapshot.disks
        if volume.free < limits.disk_warning_bytes
    ]
