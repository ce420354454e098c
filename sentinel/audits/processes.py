"""Are the processes there that a running stack consists of?

Without a live book nobody's money waits for them, so their absence is then a warning.
"""

from __future__ import annotations

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity


def _severity(snapshot: Snapshot) -> Severity:
    return Severity.CRITICAL if snapshot.live_trading else Severity.WARNING


def workers(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """QUEUE_WITHOUT_WORKER: messages of a queue would wait for nobody."""
    return [
        Finding(
            code="QUEUE_WITHOUT_WORKER",
            severity=_severity(snapshot),
            subject=queue,
            message=f"no worker listens on queue {queue}",
            observed="0 workers",
            limit="1 worker",
        )
        for queue in limits.queues
        if not snapshot.consumers.get(queue)
    ]


def breakers(snapshot: Snapshot, _limits: Limits) -> list[Finding]:
    """BREAKER_UNREADABLE: what it guards is called without it, and orders that it guards are not sent.

    BREAKER_OPEN: what it guards is not called.
    """
    reset = "what Redis holds of breaker {0} was left by no breaker; run manage.py breakers reset {0}"
    unreadable = [(each.name, reset.format(each.name)) for each in snapshot.breakers if not each.readable]
    refusing = [(each.name, f"breaker {each.name}: {each.sentence}") for each in snapshot.breakers if each.refuses]
    return [
        Finding(code=code, severity=_severity(snapshot), subject=name, message=message)
        for code, found in (("BREAKER_UNREADABLE", unreadable), ("BREAKER_OPEN", refusing))
        for name, message in found
    ]


def beat(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """BEAT_SILENT: no heartbeat came through, so no cycle is started either."""
    limit = f"{limits.heartbeat_age_s:.0f} s"
    if snapshot.beat_at is None:
        message, observed = "beat has never sent a heartbeat", "never"
    else:
        age_s = (snapshot.taken_at - snapshot.beat_at).total_seconds()
        if abs(age_s) <= limits.heartbeat_age_s:
            return []
        message, observed = f"the last heartbeat of beat is {age_s:.0f} s old", f"{age_s:.0f} s"
        if age_s < 0:
            message = f"the last heartbeat of beat is of a time {-age_s:.0f} s from now: the clock was set back"
    return [Finding(code="BEAT_SILENT", severity=_severity(snapshot), message=message, observed=observed, limit=limit)]
