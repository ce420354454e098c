"""How the admin looks: colours, and what the sidebar leads to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _allowed(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: request.user.has_perm(permission)


def _page(title: str, icon: str, model: str) -> dict[str, Any]:
    """A sidebar entry for the list of `app.model`, shown to whoever may see that list."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": _allowed(f"{app}.view_{name}"),
    }


def _section(title: str, *pages: dict[str, Any], collapsible: bool = False) -> dict[str, Any]:
    return {"title": title, "separator": True, "collapsible": collapsible, "items": pages}


SIDEBAR: Final = [
    {
        "title": "Overview",
        "items": [
            {"title": "Start page", "icon": "home", "link": reverse_lazy("admin:index")},
            _page("Findings", "health_and_safety", "sentinel.finding"),
            _page("Events", "notifications", "events.systemevent"),
            _page("Poison messages", "report", "events.poisonmessage"),
        ],
    },
    _section(
        "Control plane",
        _page("Feature flags", "flag", "flags.featureflag"),
        _page("Flag segments", "group", "flags.flagsegment"),
        _page("Circuit breakers", "electrical_services", "breakers.circuitbreaker"),
        _page("Modules", "extension", "modules.module"),
        _page("Rollouts", "rocket_launch", "rollouts.rollout"),
    ),
    _section(
        "Trading",
        _page("Books", "account_balance_wallet", "trading.book"),
        _page("Cycles", "cycle", "trading.pipelinecycle"),
        _page("Orders", "receipt_long", "trading.order"),
        _page("Executions", "swap_horiz", "trading.tradeexecution"),
        _page("Positions", "pie_chart", "trading.position"),
        _page("Snapshots", "show_chart", "trading.portfoliosnapshot"),
    ),
    _section(
        "Decisions",
        _page("Models", "neurology", "trading.mlmodel"),
        _page("Predictions", "trending_up", "trading.mlprediction"),
        _page("Volatility", "ssid_chart", "trading.volatilityforecast"),
        _page("Risk", "shield", "trading.riskdecision"),
        _page("Strategic view", "psychology", "trading.strategicdecision"),
        _page("Rebalancing", "balance", "trading.rebalancingevent"),
        _page("Ledger", "link", "trading.ledgerentry"),
        collapsible=True,
    ),
    _section(
        "System",
        _page("Audits", "fact_check", "sentinel.auditrun"),
        _page("Heartbeats", "ecg_heart", "sentinel.heartbeat"),
        _page("Periodic tasks", "schedule", "django_celery_beat.periodictask"),
        _page("Task results", "task_alt", "django_celery_results.taskresult"),
        _page("Module jobs", "pending_actions", "modules.modulejob"),
        _page("Module tests", "science", "modules.moduletestrun"),
        _page("Module processes", "memory", "modules.moduleprocess"),
        _page("Flag history", "history", "flags.featureflaghistory"),
        _page("Segment history", "history", "flags.flagsegmenthistory"),
        _page("Breaker history", "history", "breakers.circuitbreakerevent"),
        _page("Mode history", "history", "trading.tradingmodechange"),
        _page("Instruments", "category", "trading.instrument"),
        _page("Corporate actions", "call_split", "trading.corporateaction"),
        _page("Booked actions", "payments", "trading.bookedaction"),
        _page("Balances", "payments", "trading.balance"),
        collapsible=True,
    ),
    _section(
        "Access",
        _page("Users", "person", "auth.user"),
        _page("Groups", "group", "auth.group"),
        _page("API tokens", "key", "web.apitoken"),
        {"title": "API documentation", "icon": "api", "link": reverse_lazy("docs")},
        collapsible=True,
    ),
]

UNFOLD: Final[dict[str, Any]] = {
    "SITE_TITLE": "Helios",
    "SITE_HEADER": "Helios",
    "SITE_SUBHEADER": "Self-hosted ML trading",
    "SITE_SYMBOL": "wb_sunny",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("web/sun.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "DASHBOARD_CALLBACK": "sentinel.dashboard.callback",
    "STYLES": [lambda _request: static("web/admin.css")],
    "SIDEBAR": {"show_search": True, "show_all_applications": False, "navigation": SIDEBAR},
    "COLORS": {
        "primary": {  # amber; 600 is dark enough to carry white text
            "50": "oklch(98.7% .022 95.277)",
            "100": "oklch(96.2% .059 95.617)",
            "200": "oklch(92.4% .12 95.746)",
            "300": "oklch(87.9% .169 91.605)",
            "400": "oklch(82.8% .189 84.429)",
            "500": "oklch(66.6% .179 58.318)",
            "600": "oklch(55.5% .163 48.998)",
            "700": "oklch(47.3% .137 46.201)",
            "800": "oklch(41.4% .112 45.904)",
            "900": "oklch(35% .09 45.635)",
            "950": "oklch(27.9% .077 45.635)",
        }
    },
}
