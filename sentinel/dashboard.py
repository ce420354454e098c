"""The admin's start page: is all well, what do the books hold, what happened last?"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, OuterRef, Q, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince

from helios.breakers import selectors as breakers
from helios.db.lengths import long_fields
from helios.flags.models import FeatureFlag
from helios.modules.models import Module
from sentinel.models import AuditRun, Finding, Heartbeat
from trading.admin import STATUS_COLOURS
from trading.books.accounting import amount
from trading.books.read import as_shown, currency, shown_state
from trading.models import Book, PipelineCycle, PortfolioSnapshot

ROWS: Final = 8
COLOURS: Final = {
    "success": "bg-green-100 text-green-700 dark:bg-green-500/20 dark:text-green-400",
    "warning": "bg-orange-100 text-orange-700 dark:bg-orange-500/20 dark:text-orange-400",
    "danger": "bg-red-100 text-red-700 dark:bg-red-500/20 dark:text-red-400",
    "info": "bg-blue-100 text-blue-700 dark:bg-blue-500/20 dark:text-blue-400",
    "": "bg-base-500/8 text-base-700 dark:bg-base-500/20 dark:text-base-200",
}
KINDS: Final = STATUS_COLOURS | {
    "HEALTHY": "success",
    "DEGRADED": "warning",
    "CRITICAL": "danger",
    "critical": "danger",
    "warning": "warning",
    "info": "info",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure of the top row, what stands under it, and where a click leads."""

    title: str
    figure: str | SafeString
    note: str
    href: str


def callback(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds `helios` to the start page's context: only what this user may see."""

    def may(permission: str) -> bool:
        return bool(request.user.has_perm(permission))

    context["helios"] = {
        "tiles": [
            *([_verdict_tile()] if may("sentinel.view_finding") else []),
            *([_books_tile()] if may("trading.view_book") else []),
            *([_flags_tile()] if may("flags.view_featureflag") else []),
            *([_breakers_tile()] if may("breakers.view_circuitbreaker") else []),
        ],
        "tables": [
            *([_findings()] if may("sentinel.view_finding") else []),
            *([_cycles()] if may("trading.view_pipelinecycle") else []),
            *([_books()] if may("trading.view_book") else []),
            *([_modules()] if may("modules.view_module") else []),
        ],
    }
    return context


def badge(text: str, kind: str | None = None) -> SafeString:
    """A coloured label; the colour follows the word unless given."""
    style = COLOURS[KINDS.get(text, "") if kind is None else kind]
    return format_html(
        '<span class="inline-block font-semibold h-6 leading-6 px-2 rounded-default text-[11px] uppercase '
        'whitespace-nowrap {}">{}</span>',
        style,
        text,
    )


def link(href: str, text: object) -> SafeString:
    """A link in a table cell."""
    return format_html('<a class="font-medium text-link" href="{}">{}</a>', href, text)


def nowrap(text: str) -> SafeString:
    """A table cell's text on one line."""
    return format_html('<span class="whitespace-nowrap">{}</span>', text)


def _ago(ts: datetime) -> str:
    """How long ago, in words of one unit."""
    if timezone.now() - ts < timedelta(minutes=1):
        return "just now"
    return f"{timesince(ts, depth=1)} ago"


def _verdict_tile() -> Tile:
    run = AuditRun.objects.first()
    beat = Heartbeat.objects.filter(name="beat").first()
    pulse = "beat was never seen" if beat is None else f"beat seen {_ago(beat.ts)}"
    note = pulse if run is None else f"audit {_ago(run.ts)}, {pulse}"
    return Tile(
        title="Sentinel",
        figure=badge("not audited", "") if run is None else badge(run.verdict),
        note=note,
        href=reverse("admin:sentinel_finding_changelist"),
    )


def _books_tile() -> Tile:
    """A sum for each currency: nothing here converts one into another."""
    active = list(_with_equity(Book.objects.filter(active=True)))
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for book in active:
        totals[currency(book)] += _last_equity(book)
    named = [amount(totals[name], name) for name in sorted(filter(None, totals))]
    unnamed = [f"{amount(totals[''])} of no known currency"] if "" in totals else []
    return Tile(
        title="Equity of active books",
        figure=", ".join([*named, *unnamed]) or "none active",
        note=f"{len(active)} active of {Book.objects.count()} books",
        href=reverse("admin:trading_book_changelist"),
    )


def _flags_tile() -> Tile:
    counts = FeatureFlag.objects.aggregate(on=Count("pk", filter=Q(enabled=True)), all=Count("pk"))
    trading = FeatureFlag.objects.filter(name="auto_trading", enabled=True).exists()
    return Tile(
        title="Flags on",
        figure=f"{counts['on']} of {counts['all']}",
        note=f"auto_trading is {'on: orders are sent' if trading else 'off: but for replays, orders are not sent'}",
        href=reverse("admin:flags_featureflag_changelist"),
    )


def _breakers_tile() -> Tile:
    states = breakers.statuses()
    closed = sum(state.state == "CLOSED" for state in states)
    others = [state.name for state in states if state.state != "CLOSED"]
    return Tile(
        title="Breakers closed",
        figure=f"{closed} of {len(states)}",
        note=f"not closed: {', '.join(others)}" if others else "every dependency may be called",
        href=reverse("admin:breakers_circuitbreaker_changelist"),
    )


def _findings() -> dict[str, Any]:
    rows = Finding.objects.filter(resolved_at__isnull=True)[:ROWS]
    return {
        "title": "Open findings",
        "empty": "The last audit found nothing.",
        "headers": ["severity", "finding", "since", "seen"],
        "rows": [
            [
                badge(row.severity),
                link(reverse("admin:sentinel_finding_change", args=[row.pk]), row.message),
                _ago(row.first_seen),
                f"{row.count}x",
            ]
            for row in rows
        ],
    }


def _with_equity(books: Any) -> Any:
    last = PortfolioSnapshot.objects.filter(book=OuterRef("pk")).order_by("-bar_ts").values("equity")[:1]
    return as_shown(books).annotate(last_equity=Subquery(last))


def _last_equity(book: Any) -> Decimal:
    """The equity of the last snapshot, or the cash of a book that has none yet."""
    return Decimal(book.cash if book.last_equity is None else book.last_equity)


def _books() -> dict[str, Any]:
    newest = _with_equity(Book.objects.all()).order_by("-runs", "-updated_at")
    return {
        "title": "Books",
        "empty": "There is no book yet: manage.py replay makes one.",
        "headers": ["book", "mode", "trading state", "equity", "return", "drawdown"],
        "rows": [_book_row(book) for book in newest[:ROWS]],
    }


def _book_row(book: Any) -> list[Any]:
    equity = _last_equity(book)
    peak = max(book.peak_equity, equity)
    return [
        link(reverse("admin:trading_book_change", args=[book.pk]), nowrap(book.name)),
        book.mode,
        badge(shown_state(book)),
        amount(equity, currency(book)),
        f"{equity / book.initial_cash - 1:+.2%}",
        f"{1 - equity / peak:.2%}",
    ]


def _cycles() -> dict[str, Any]:
    """The newest of each book: one that makes a bar in seconds hides none of the others."""
    of_book = PipelineCycle.objects.filter(book=OuterRef("pk")).order_by("-bar_ts").values("pk")[:1]
    newest = PipelineCycle.objects.select_related("book").filter(pk__in=Book.objects.values(last=Subquery(of_book)))
    newest = newest.defer(*long_fields(PipelineCycle)).annotate(
        orders_made=Count("orders"), took=F("finished_at") - F("started_at")
    )
    return {
        "title": "Last cycle of each book",
        "empty": "No bar has gone through the tiers yet.",
        "headers": ["bar (UTC)", "book", "status", "took", "orders", "reason"],
        "rows": [_cycle_row(cycle) for cycle in newest.order_by("-id")[:ROWS]],
    }


def _cycle_row(cycle: Any) -> list[Any]:
    running = f"at {cycle.stage} for {timesince(cycle.started_at, timezone.now())}"
    return [
        link(
            reverse("admin:trading_pipelinecycle_change", args=[cycle.pk]),
            nowrap(f"{cycle.bar_ts:%Y-%m-%d %H:%M}"),
        ),
        nowrap(cycle.book.name),
        badge(cycle.status),
        running if cycle.took is None else f"{cycle.took.total_seconds() * 1000:.0f} ms",
        cycle.orders_made,
        cycle.reason[:80],
    ]


def _modules() -> dict[str, Any]:
    return {
        "title": "Modules",
        "empty": "No module is registered.",
        "headers": ["module", "version", "state"],
        "rows": [
            [
                link(reverse("admin:modules_module_change", args=[row.pk]), row.name),
                row.version,
                badge(row.state),
            ]
            for row in Module.objects.order_by("id")[: 2 * ROWS]
        ],
    }
