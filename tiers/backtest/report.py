"""The HTML report of a backtest: one file that needs no network, written whole or not at all.

plotly.js is embedded once (about 4.8 MB), so that a report opens years later and without a connection.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from tiers.backtest import charts, presentation
from tiers.backtest.engine import Result
from tiers.backtest.evidence import Evidence
from tiers.backtest.presentation import Columns
from tiers.backtest.trades import Reduction
from tiers.contracts.errors import Rejected
from trading.books.accounting import amount, shortened
from trading.market.days import day_of

TEMPLATE = Path(__file__).with_name("report.html")
SHOWN = 200  # reductions
TILES = (
    "total_return_pct",
    "cagr_pct",
    "sharpe",
    "sortino",
    "max_drawdown_pct",
    "volatility_pct",
    "n_trades",
    "win_rate_pct",
    "profit_factor",
    "time_in_market_pct",
    "turnover",
    "fees_paid",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """What the report tells of a model that served; `facts` and `figures` are printed as they are."""

    name: str  # with its symbols, where another one served the rest
    trained_to: datetime
    facts: Sequence[tuple[str, str]] = ()
    figures: Sequence[tuple[str, str]] = ()  # of its training


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a report says beside the result."""

    made_at: datetime
    elapsed_s: float
    models: Sequence[ModelSummary] = ()  # that served
    says: Sequence[str] = ()  # what the figures say of the model
    evidence: Evidence | None = None  # from which it follows
    modules: Sequence[tuple[str, str]] = ()  # that stood for the tiers, and their versions
    switches: Sequence[tuple[str, str]] = ()


def ensure_writable(path: Path) -> None:
    """Raise `Rejected` in one sentence when a report cannot be written to `path`; leaves nothing behind."""
    if path.is_dir():
        raise Rejected(f"the report needs a file name, {path} is a directory")
    if not path.parent.is_dir():
        raise Rejected(f"the report cannot be written to {path}: there is no directory {path.parent}")
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise Rejected(f"the report cannot be written to {path}: {error.strerror}") from error


def write(path: Path, html: str) -> None:
    """Replace `path` by the report in one step; `Rejected` when the file system refuses."""
    partial: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            partial = Path(file.name)
            file.write(html)
        partial.chmod(0o644)
        os.replace(partial, path)  # noqa: PTH105 - the atomic one
    except OSError as error:
        raise Rejected(f"the report cannot be written to {path}: {error.strerror}") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def render(result: Result, context: Context) -> str:
    """The whole report as HTML."""
    pictures = charts.fragments(
        [charts.equity(result), charts.drawdown(result), charts.monthly(result), charts.weights(result)]
    )
    lead, columns = result.lead, presentation.columns(result)
    heading = f"{result.strategy} on {', '.join(result.symbols)}"
    period = presentation.period(result)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Backtest: {heading}, {period}"),
        heading=escape(_shortened(result)),
        subheading=escape(f"{result.timeframe} bars, {period}, {len(result.run.ts):,} decisions"),
        plotly=get_plotlyjs(),
        notes=_training_note(result, context.models) + "".join(map(_note, (*context.says, *lead.reasons))),
        tiles="".join(_tile(columns, key, result.currency, in_sample=result.in_sample) for key in TILES),
        equity_note=_equity_note(result),
        chart_equity=pictures[0],
        chart_drawdown=pictures[1],
        chart_monthly=pictures[2],
        monthly_note=escape(_monthly_note(result)),
        chart_weights=pictures[3],
        figures=_figures_table(columns, result.currency),
        evidence=_evidence(context.evidence),
        reductions_note=_reductions_note(lead.reductions),
        reductions=_reductions_table(lead.reductions),
        facts=_facts(result, context),
        footer=escape(
            f"Made {context.made_at:%Y-%m-%d %H:%M} UTC by Helios in {context.elapsed_s:.1f} s. "
            "Past results of a simulation; not advice."
        ),
    )


def _note(sentence: str, tone: str = "") -> str:
    return f'<p class="note{tone}">{escape(sentence)}</p>'


def _shortened(result: Result, limit: int = 8) -> str:
    more = len(result.symbols) - limit
    names = ", ".join(result.symbols[:limit]) + (f" and {more} more" if more > 0 else "")
    return f"{result.strategy} on {names}"


def _training_note(result: Result, models: Sequence[ModelSummary]) -> str:
    """An honest word about how much of the backtest the models had already seen."""
    text = presentation.sample_note(result, {model.name: model.trained_to for model in models})
    return _note(text, " warn" if result.n_seen else " good") if text else ""


def _equity_note(result: Result) -> str:
    costs = result.costs
    return escape(
        f"Starting with {amount(result.initial.cash, result.currency)}. Orders fill at the next bar's open, "
        f"{costs.slippage_bps.normalize():f} bps worse, for a fee of {costs.fee_bps.normalize():f} bps."
    )


def _monthly_note(result: Result) -> str:
    seen = " Months in italics hold bars that the model was trained on." if result.n_seen else ""
    return f"In percent, by calendar month (UTC). The first and the last month may be partial.{seen}"


def _tile(columns: Columns, key: str, currency: str, *, in_sample: bool) -> str:
    value, beside = next(iter(columns.values()))[key], ""
    if presentation.BUY_AND_HOLD in columns:
        other = presentation.formatted(key, columns[presentation.BUY_AND_HOLD][key], currency)
        beside = f'<div class="beside">buy and hold {other}</div>'
    label = presentation.LABELS[key] + ", in sample" * in_sample
    tone = "" if key not in presentation.SIGNED or not value else (" up" if value > 0 else " down")
    return (
        f'<div class="tile"><div class="name">{escape(label)}</div>'
        f'<div class="value{tone}">{presentation.formatted(key, value, currency)}</div>{beside}</div>'
    )


def _figures_table(columns: Columns, currency: str) -> str:
    rows = [
        [label, *(presentation.formatted(key, column.get(key), currency) for column in columns.values())]
        for key, label in presentation.LABELS.items()
    ]
    return _table(["", *columns], rows)


def _evidence(found: Evidence | None) -> str:
    """What the models add to what needs no model; nothing where nothing is said of them."""
    if found is None:
        return ""
    note = (
        f"Of {found.n_forecasts:,} forecasts at {found.n_bars:,} bars from {day_of(found.start)} on, none of which was "
        f"trained on. Log loss {found.log_loss:.4f}, of class frequencies {found.class_frequencies_log_loss:.4f}; "
        f"sides named right {found.hit_rate:.4f}, by always saying up {found.always_up:.4f}."
    )
    estimates = ((label, getattr(found, key)) for key, label in presentation.EVIDENCE_LABELS.items())
    rows = [
        [label, *(f"{part:.4f}" for part in (one.value, one.low, one.high))]
        for label, one in estimates
        if one is not None
    ]
    table = _table(["", "estimate", "low", "high"], rows)
    return (
        f"<section><h2>What the model adds, with 95 % intervals</h2><p>{escape(note)}</p>"
        f'<div class="scroll">{table}</div></section>'
    )


def _reductions_note(reductions: Sequence[Reduction]) -> str:
    done = sum(not one.is_open for one in reductions)
    still = len(reductions) - done
    hidden = f", the last {SHOWN} of {len(reductions):,} shown" if len(reductions) > SHOWN else ""
    return (
        f"What each reduction of a position earned, full exits included: {done:,}, and {still:,} "
        f"position{'s' * (still != 1)} still open at the last price; newest first{hidden}. Times name bars by their "
        "closes (UTC); a fill is at the open of its bar."
    )


def _reductions_table(reductions: Sequence[Reduction]) -> str:
    heads = ("Symbol", "Side", "Quantity", "Opened", "Closed", "Entry", "Exit", "Fees", "Dividends", "Profit", "Return")
    body = "".join(_reduction_row(one) for one in reversed(reductions[-SHOWN:]))
    if not body:
        return "<p>Nothing was traded.</p>"
    return f"<table><thead>{_row('th', heads)}</thead><tbody>{body}</tbody></table>"


def _reduction_row(one: Reduction) -> str:
    tone = "up" if one.pnl > 0 else "down"
    closed = '<span class="tag">open</span>' if one.is_open else f"{one.closed_ts:%Y-%m-%d %H:%M}"
    cells = [
        escape(one.symbol),
        one.direction.value.lower(),
        f"{one.quantity.normalize():,f}",
        f"{one.opened_ts:%Y-%m-%d %H:%M}",
        closed,
        shortened(one.entry_price),
        shortened(one.exit_price),
        amount(one.fees),
        amount(one.dividends),
        f'<span class="{tone}">{"+" if one.pnl >= 0 else ""}{amount(one.pnl)}</span>',
        f'<span class="{tone}">{one.return_pct:+.2f} %</span>',
    ]
    return _row("td", cells)


def _facts(result: Result, context: Context) -> str:
    """Model, parameters, modules, flags and refusals as small tables."""
    parts: list[tuple[str, list[tuple[str, str]]]] = []
    for model in context.models:
        parts.append(("Model", [("name", model.name), *model.facts]))
        if model.figures:
            of_it = f" of {model.name}" if len(context.models) > 1 else ""
            parts.append((f"Walk-forward in the training{of_it}: other networks, earlier bars", list(model.figures)))
    settings = [("seed of this run", str(result.seed)), ("cash", amount(result.initial.cash, result.currency))]
    parts.append(("Parameters", settings + presentation.flattened(result.lead.params)))
    if context.modules:
        parts.append(("Modules", list(context.modules)))
    if context.switches:
        parts.append(("Flags", list(context.switches)))
    denials = result.lead.run.denials
    if denials:
        counts = [(code, f"{count:,}") for code, count in denials.most_common()]
        parts.append(("What was refused", counts))
    return "".join(f"<section><h2>{escape(name)}</h2>{_pairs(rows)}</section>" for name, rows in parts)


def _pairs(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(_row("td", [escape(cell) for cell in row]) for row in rows)
    return f"<table><thead>{_row('th', [escape(head) for head in heads])}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
