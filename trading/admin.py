"""The domain in the admin: everything can be read, almost nothing can be typed over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.decorators import display
from unfold.forms import ActionForm
from unfold.widgets import UnfoldAdminTextInputWidget

from helios.entries import MAX_REASON
from helios.errors import HeliosError
from helios.web.admin_base import ReadOnlyAdmin, RoledAdmin
from trading import models
from trading.books import write as books
from trading.books.accounting import amount, shortened, written
from trading.books.read import as_shown, currency, shown_state
from trading.enums import TradingState
from trading.orders.cycle_end import end_for

STATUS_COLOURS = {
    "DONE": "success",
    "RUNNING": "info",
    "FAILED": "danger",
    "SKIPPED": "warning",
    "FILLED": "success",
    "ACCEPTED": "info",
    "REJECTED": "danger",
    "UNKNOWN": "danger",
    "CANCELLED": "warning",
    "WITHHELD": "warning",
    "ACTIVE": "success",
    "REDUCING": "warning",
    "HALTED": "danger",
    "champion": "success",
    "challenger": "info",
}


def column(field: str, text: Callable[[Any], str], title: str = "") -> Callable[[Model], str]:
    """A column with the field's value as people read it; a dash where it has none."""

    @display(description=title or field.replace("_", " "), ordering=field)
    def shown(row: Model) -> str:
        value = getattr(row, field)
        return "-" if value is None else text(value)

    shown.__name__ = field
    return cast("Callable[[Model], str]", shown)


share = "{:.1%}".format
ratio = "{:.2f}".format


class StageRunInline(TabularInline):
    model = models.StageRun
    fields = ("stage", "ms", "waited", "module_version", "fallback", "reason", "worker")
    readonly_fields = fields
    extra = 0
    can_delete = False
    hide_title = True

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    @display(description="ms")
    def ms(self, row: models.StageRun) -> str:
        return f"{row.duration_ms:.1f}"

    @display(description="queue ms")
    def waited(self, row: models.StageRun) -> str:
        return f"{row.queue_ms:.1f}"


class ReasonForm(ActionForm):
    """An action and why it is taken."""

    reason = forms.CharField(required=False, max_length=MAX_REASON, label="", widget=UnfoldAdminTextInputWidget)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["reason"].widget.attrs["placeholder"] = "reason, kept in the history"


class ReasonedAdmin(ReadOnlyAdmin, RoledAdmin):
    """Rows that are changed by actions with a reason, and by nothing else."""

    action_form = ReasonForm

    def each(self, request: HttpRequest, rows: Iterable[Any], word: str, change: Callable[..., object]) -> None:
        """Change each row in the name of who asked, and say how many were and which were not."""
        by, done = {"actor": request.user.get_username(), "reason": request.POST.get("reason", "").strip()}, 0
        for row in rows:
            try:
                change(row, **by)
                done += 1
            except HeliosError as error:
                self.message_user(request, str(error), level="error")
        if done:
            self.message_user(request, f"{done} {self.opts.verbose_name}(s) {word}.")


@admin.register(models.PipelineCycle)
class PipelineCycleAdmin(ReasonedAdmin):
    list_display = ("id", "book", "timeframe", "bar_ts", "status_badge", "stage", "latency", "reason")
    list_filter = ("status", "timeframe", "mode", "book")
    list_select_related = ("book",)
    inlines = (StageRunInline,)
    action_routes: ClassVar = {"end_cycles": "POST cycle-end"}
    actions: ClassVar = [*action_routes]

    @admin.action(description="End, with a reason: these cycles send nothing more; what may have left is asked about")
    def end_cycles(self, request: HttpRequest, queryset: QuerySet[models.PipelineCycle]) -> None:
        runs = Q(status=models.PipelineCycle.Status.RUNNING)
        if over := queryset.exclude(runs).count():
            self.message_user(request, f"Nothing is to end of {over} of them: over already.", level="warning")
        self.each(request, queryset.filter(runs).order_by("pk").values_list("pk", flat=True), "ended", end_for)

    @display(description="status", label=STATUS_COLOURS)
    def status_badge(self, row: models.PipelineCycle) -> str:
        return row.status

    @display(description="latency")
    def latency(self, row: models.PipelineCycle) -> str:
        end = row.finished_at or timezone.now()
        return f"{(end - row.started_at).total_seconds() * 1e3:,.0f} ms"


@admin.register(models.Book)
class BookAdmin(ReasonedAdmin):
    list_display = (
        "name",
        "mode",
        "state_badge",
        "timeframe",
        "universe",
        "equity",
        "result",
        "cash_shown",
    )
    list_filter = ("mode", "active", "state", "timeframe")
    action_routes: ClassVar = {
        "start_books": "POST book-start",
        "stop_books": "POST book-stop",
        "halt_books": "POST book-halt",
        "reduce_books": "POST book-reduce",
        "resume_books": "POST book-resume",
    }
    actions: ClassVar = [*action_routes]
    readonly_fields = ("state_badge", "equity", "result", "initial_cash_shown", "cash_shown", "peak_equity_shown")
    change_form_outer_before_template = "trading/halt.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Book]:
        return as_shown(super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: models.Book | None = None) -> list[Any]:
        """What is read first, then all that has no better form among it."""
        shown = {each.removesuffix("_shown") for each in self.readonly_fields} | {*self.readonly_fields}
        return [*self.readonly_fields, *(name for name in super().get_fields(request, obj) if name not in shown)]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        context["may_halt"] = "halt_books" in self.get_actions(request)
        return super().render_change_form(request, context, *args, **kwargs)

    @display(description="trading state", label=STATUS_COLOURS)
    def state_badge(self, row: models.Book) -> str:
        return shown_state(row)

    @display(description="universe")
    def universe(self, row: models.Book) -> str:
        return ", ".join(row.symbols)

    @display(description="equity")
    def equity(self, row: models.Book) -> str:
        last = row.snapshots.order_by("-bar_ts").first()
        return amount(last.equity if last else row.cash, currency(row))

    @display(description="return")
    def result(self, row: models.Book) -> str:
        last = row.snapshots.order_by("-bar_ts").first()
        return "0.00 %" if last is None else f"{float(last.equity / row.initial_cash - 1):+.2%}"

    @display(description="cash")
    def cash_shown(self, row: models.Book) -> str:
        return amount(row.cash, currency(row))

    @display(description="initial cash")
    def initial_cash_shown(self, row: models.Book) -> str:
        return amount(row.initial_cash, currency(row))

    @display(description="peak equity")
    def peak_equity_shown(self, row: models.Book) -> str:
        return amount(row.peak_equity, currency(row))

    @admin.action(description="Start: beat runs a cycle for every new bar of these books")
    def start_books(self, request: HttpRequest, queryset: QuerySet[models.Book]) -> None:
        self._set_active(request, queryset, active=True)

    @admin.action(description="Stop: no new cycles for these books; what is held stays held")
    def stop_books(self, request: HttpRequest, queryset: QuerySet[models.Book]) -> None:
        self._set_active(request, queryset, active=False)

    @admin.action(description="Halt: these books send nothing until a person lets them trade again")
    def halt_books(self, request: HttpRequest, queryset: QuerySet[models.Book]) -> None:
        self._set_state(request, queryset, TradingState.HALTED)

    @admin.action(
        description="Reduce: these books only shrink positions until a person lets them trade again",
    )
    def reduce_books(self, request: HttpRequest, queryset: QuerySet[models.Book]) -> None:
        self._set_state(request, queryset, TradingState.REDUCING)

    @admin.action(
        description="Resume, with a reason: these books trade again; their drawdown counts from now",
    )
    def resume_books(self, request: HttpRequest, queryset: QuerySet[models.Book]) -> None:
        self._set_state(request, queryset, TradingState.ACTIVE)

    def above_operator(self, _obj: models.Book | None) -> str:
        """Buttons that only a trader has."""
        return "Only a trader may start a book or let it trade again. Stopping, halting and reducing are an operator's."

    def _set_state(self, request: HttpRequest, queryset: QuerySet[models.Book], state: str) -> None:
        names = queryset.values_list("name", flat=True)
        self.each(request, names, state, lambda name, **by: books.set_state(name, state, **by))

    def _set_active(self, request: HttpRequest, queryset: QuerySet[models.Book], *, active: bool) -> None:
        word = "started" if active else "stopped"
        names = queryset.values_list("name", flat=True)
        self.each(request, names, word, lambda name, **by: books.set_active(name, active=active, **by))


@admin.register(models.Position)
class PositionAdmin(ReadOnlyAdmin):
    list_display = (
        *("id", "book", "symbol", column("quantity", written), column("cost", amount), "average"),
        *(column("last_price", shortened), column("realised_pnl", amount, "realised P&L"), column("fees_paid", amount)),
        column("dividends", amount),
    )
    list_filter = ("book",)
    list_select_related = ("book",)

    @display(description="average price")
    def average(self, row: models.Position) -> str:
        return shortened(row.average_price) if row.quantity else "-"


@admin.register(models.Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = (
        *("id", "book", "bar_ts", "side", "symbol", column("quantity", written)),
        *(column("filled_quantity", written, "filled"), "status_badge", "reason"),
    )
    list_filter = ("status", "side", "symbol", "book")
    search_fields = ("client_order_id", "venue_order_id")
    list_select_related = ("book",)

    @display(description="status", label=STATUS_COLOURS)
    def status_badge(self, row: models.Order) -> str:
        return row.status


@admin.register(models.TradeExecution)
class TradeExecutionAdmin(ReadOnlyAdmin):
    list_display = (
        *("id", "book", "bar_ts", "side", "symbol", column("quantity", written)),
        *(column("price", shortened), column("notional", amount), column("fee", amount)),
    )
    list_filter = ("side", "symbol", "book")
    list_select_related = ("book",)


@admin.register(models.MLModel)
class MLModelAdmin(ReadOnlyAdmin):
    list_display = ("name", "role_badge", "preset", "timeframe", "trained_from", "trained_to", "seed")
    list_filter = ("role", "timeframe", "preset")

    @display(description="role", label=STATUS_COLOURS)
    def role_badge(self, row: models.MLModel) -> str:
        return row.role


@admin.register(models.MLPrediction)
class MLPredictionAdmin(ReadOnlyAdmin):
    list_display = (
        *("bar_ts", "symbol", "signal", column("p_sell", share, "p(sell)"), column("p_hold", share, "p(hold)")),
        *(column("p_buy", share, "p(buy)"), "model"),
    )
    list_filter = ("signal", "symbol", "timeframe")
    list_select_related = ("model",)


@admin.register(models.LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    list_display = ("sequence", "book", "kind", "cycle", "ts", "short_hash")
    list_filter = ("kind", "book")
    list_select_related = ("book", "cycle")

    @display(description="hash")
    def short_hash(self, row: models.LedgerEntry) -> str:
        return format_html("<code>{}</code>", row.hash[:12])


def _register(model: type[Model], *columns: str | Callable[[Model], str], filters: tuple[str, ...] = ()) -> None:
    """A plain read-only page."""
    options: dict[str, Any] = {"list_display": columns, "list_filter": filters}
    admin.site.register(model, type(f"{model.__name__}Admin", (ReadOnlyAdmin,), options))


_register(
    models.Instrument,
    *("symbol", "venue", "asset_class", column("quantity_step", written), column("price_tick", written)),
    *(column("min_notional", written), "calendar"),
)
_register(
    models.BarCorrection,
    *("bar_ts", "symbol", "timeframe", "revision", "open", "high", "low", "close", "volume", "source", "replaced_at"),
    filters=("timeframe",),
)
_register(
    models.CorporateAction,
    *("ex_ts", "symbol", "kind", column("value", written), column("per", written), "source", "revision"),
    filters=("kind",),
)
_register(
    models.BookedAction,
    *("bar_ts", "book", "symbol", "kind", column("quantity", written), column("remaining", written)),
    *(column("price", shortened), column("cash", amount)),
    filters=("kind", "book"),
)
_register(
    models.PortfolioSnapshot,
    *("bar_ts", "book", column("equity", amount), column("cash", amount), column("gross_exposure", share)),
    column("drawdown", share),
    filters=("book",),
)
_register(
    models.RebalancingEvent,
    *("bar_ts", "book", "reason", column("turnover", share), "method"),
    filters=("reason", "book"),
)
_register(
    models.VolatilityForecast,
    *("bar_ts", "symbol", column("sigma", "{:.3%}".format, "volatility of the next bar"), "method"),
    filters=("method", "symbol"),
)
_register(models.RiskDecision, "cycle", "state", column("leverage", ratio), "created_at", filters=("state",))
_register(
    models.StrategicDecision,
    *("cycle", "provider", "stance", column("conviction", ratio), column("risk_multiplier", ratio), "applied"),
    filters=("provider", "stance"),
)
_register(models.TradingModeChange, "ts", "book", "before", "after", "actor", "reason", filters=("book",))
_register(models.Balance, "book", "venue", "currency", column("total", written), column("available", written))
