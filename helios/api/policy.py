"""The role that each address of the control plane, of the system's pages and of Unleash's client interface asks for."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from helios.flags.roles import NAMED, RAISED_OFF, RAISED_ON
from helios.web.roles import HEAVY, PUBLIC, READ, REPORT, TO_LIVE, WRITE, Policy, Role, Rule, Scope, raised

# Who may put code in charge: one answer for every way by which a version comes to work. Files that come in by
# themselves hang on the flag hot_reload_modules, whose answer is the same (`flags.roles`).
_IN_CHARGE = TO_LIVE
_ON = raised(f"for {RAISED_ON}")
_OFF = raised(f"for {RAISED_OFF}")
_EDIT = raised(f"for {NAMED}")
_GUARD = raised("for a breaker of the order path")

POLICY: Final[Policy] = MappingProxyType(
    {
        # pages and probes
        "index": {"GET": PUBLIC},
        "favicon": {"GET": PUBLIC},
        "health": {"GET": PUBLIC},
        "ready": {"GET": PUBLIC},
        "schema": {"GET": PUBLIC},
        "docs": {"GET": PUBLIC},
        "redoc": {"GET": PUBLIC},
        # the system
        "system-info": {"GET": READ},
        # Unleash's client interface
        "client-features": {"GET": READ},
        "client-register": {"POST": REPORT},
        "client-metrics": {"POST": REPORT},
        # the control plane
        "modularity-status": {"GET": READ},
        "flag-list": {"GET": READ, "POST": WRITE},
        "flag-detail": {"GET": READ, "PATCH": _EDIT, "DELETE": _EDIT},
        "flag-check": {"GET": READ},
        "flag-history": {"GET": READ},
        "flag-stale": {"GET": READ},
        "flag-enable": {"POST": _ON},
        "flag-disable": {"POST": _OFF},
        "flag-kill": {"POST": _OFF},
        "flag-percentage": {"POST": _EDIT},
        "flag-restore": {"POST": _EDIT},
        "flag-whitelist-add": {"POST": _EDIT},
        "flag-whitelist-remove": {"POST": _EDIT},
        "flag-enable-named": {"POST": _ON},
        "flag-disable-named": {"POST": _OFF},
        "flag-percentage-named": {"POST": _EDIT},
        "segment-list": {"GET": READ, "POST": WRITE},
        "segment-detail": {
            "GET": READ,
            "PATCH": raised(f"while {NAMED} uses it"),
            "DELETE": raised(f"while {NAMED} uses it"),
        },
        "breaker-list": {"GET": READ, "POST": _GUARD},
        "breaker-detail": {"GET": READ, "PATCH": _GUARD, "DELETE": _GUARD},
        "breaker-history": {"GET": READ},
        "breaker-open": {"POST": WRITE},
        "breaker-close": {"POST": _GUARD},
        "breaker-reset": {"POST": _GUARD},
        "breaker-reset-all": {
            "POST": Rule(role=Role.OPERATOR, scope=Scope.SENSITIVE, raised="while one guards the order path"),
        },
        "breaker-metrics-only": {"POST": _GUARD},
        "breaker-normal": {"POST": _GUARD},
        "module-list": {"GET": READ},
        "module-statuses": {"GET": READ},
        "module-status": {"GET": READ},
        "module-versions": {"GET": READ},
        "module-test-history": {"GET": READ},
        "module-test-run": {"GET": READ},
        "module-job": {"GET": READ},
        "module-cancel": {"POST": WRITE},
        "module-register": {"POST": Rule(role=Role.OPERATOR, scope=Scope.SENSITIVE, raised="for a new slot")},
        "module-load": {"POST": HEAVY},
        "module-activate": {"POST": _IN_CHARGE},
        "module-unload": {"POST": HEAVY},
        "module-test": {"POST": HEAVY},
        "module-swap": {"POST": _IN_CHARGE},
        "module-rollback": {"POST": _IN_CHARGE},
        "swap-list": {"GET": READ},
        "swap-detail": {"GET": READ},
        "rollout-list": {"GET": READ, "POST": WRITE},
        "rollout-detail": {"GET": READ},
        "rollout-analyses": {"GET": READ},
        "rollout-history": {"GET": READ},
        "rollout-statistics": {"GET": READ},
        "rollout-start": {"POST": _IN_CHARGE},
        "rollout-resume": {"POST": _IN_CHARGE},
        "rollout-promote": {"POST": _IN_CHARGE},
        "rollout-pause": {"POST": WRITE},
        "rollout-abort": {"POST": WRITE},
    }
)
