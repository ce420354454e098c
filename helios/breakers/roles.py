"""Which role may change a breaker."""

from __future__ import annotations

from helios.web.roles import Role


def for_breaker(*, order_path: bool, opens: bool = False) -> Role:
    """The role that may change this breaker; forcing one open is an operator's, always."""
    return Role.TRADER if order_path and not opens else Role.OPERATOR
