"""Will who speaks to the API be let in next week?"""

from __future__ import annotations

from datetime import timedelta

from sentinel.audits.facts import Snapshot
from sentinel.audits.findings import Finding, Limits, Severity


def tokens(snapshot: Snapshot, limits: Limits) -> list[Finding]:
    """TOKEN_ENDING some days before a token in use ends: whoever uses it is then refused."""
    soon = snapshot.taken_at + timedelta(days=limits.token_ending_days)
    return [
        Finding(
            code="TOKEN_ENDING",
            severity=Severity.WARNING,
            subject=f"{token.user}/{token.name}",
            message=f"the API token {token.name} of {token.user} ends on {token.ends_at:%Y-%m-%d}: "
            f"`manage.py api_token {token.user} --name {token.name}` makes another in its place",
            observed=f"{(token.ends_at - snapshot.taken_at).days} days left",
            limit=f"{limits.token_ending_days} days",
        )
        for token in snapshot.tokens
        if snapshot.taken_at < token.ends_at <= soon
    ]
