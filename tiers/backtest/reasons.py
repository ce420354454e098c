"""What whoever reads a backtest has to know, in the same words for the terminal, JSON and the report. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from tiers.backtest.exact import Run
from tiers.backtest.history import DecisionLog
from tiers.backtest.metrics import FEWEST_DAYS, Metrics, drawdowns
from tiers.backtest.sampling import YEAR_DAYS, Sampling, n_expected
from tiers.contracts import Bars, BoolArray, FloatArray, TradingState, utc
from trading.books.accounting import ZERO, amount
from trading.market.calendars import LONGEST_CLOSURE, Calendar
from trading.market.days import day_of
from trading.market.lots import Lot

SHOWN = 5  # names in a sentence
WHOLE_PCT = 100.0
TWO_SIDED = 1.96  # standard errors of a 95 % interval; that of a yearly Sharpe ratio is about 1 / sqrt(years)
A_HUNDREDTH = 0.01
A_YEAR = 0.98  # from the first bar of a year's sessions to their last
NOTABLE = 0.01  # of the bars: of fewer missing ones a ratio changes by less than a 200th
OF_A_STRATEGY = (
    "The strategy traded alone, as it wanted: in a book (paper_book --strategy) it trades inside the limits of the "
    "other tiers, so that it holds less, and nothing that the forecast is against, and its exits may take several bars."
)
REFUSED = {  # in the codes of the tiers; a code of another module stands for itself
    "BOOK_HALTED": "all changes of a halted book",
    "CASH_BELOW_BUFFER": "buying in full where cash was short (all buys of the bar were made smaller)",
    "CORRELATION_ABOVE_LIMIT": "more of a symbol that moves with all others",
    "CVAR_ABOVE_LIMIT": "weights whose worst bars would lose too much",
    "CVAR_UNKNOWN": "more of a symbol where the loss of the worst bars is not known",
    "DRAWDOWN_ABOVE_LIMIT": "new exposure after a large drawdown",
    "FORECAST_MISSING": "positions in a symbol of which no model spoke",
    "GROSS_ABOVE_LIMIT": "a gross weight above its limit",
    "LOT_UNKNOWN": "orders in a symbol without a lot",
    "NOTIONAL_ABOVE_LIMIT": "orders above the limit on one order",
    "NOTIONAL_BELOW_MINIMUM": "orders below the least that can be ordered",
    "NOT_TRADABLE": "orders in a symbol without a bar",
    "NO_PRICE": "orders in a symbol without a price",
    "TURNOVER_ABOVE_LIMIT": "changes above the limit on turnover (they were made smaller)",
    "VOLATILITY_UNKNOWN": "positions in a symbol of unknown volatility",
    "WEIGHT_ABOVE_LIMIT": "sizes above the limit on one symbol (made smaller, before weights were chosen)",
}


def of_run(
    run: Run, bars: Bars, lots: Mapping[str, Lot], *, log: DecisionLog | None, columns: Sequence[str] = ()
) -> list[str]:
    """A sentence for each thing that kept symbols from being traded; none where all that was wanted was traded.

    `columns` names the features of `log`.
    """
    found = [*_ended(run, bars), *([] if log is None else _silent(log, bars, columns)), *_too_dear(run, bars, lots)]
    if not run.all_fills and not found:
        wanted = np.nan_to_num(run.targets).any()
        ordered = "orders were made, and none was filled" if any(run.orders) else "every order was refused"
        why = ordered if wanted else "no position was wanted at any bar"
        found = [f"Nothing was traded: {why}."]
    return [*_left_out(run, bars), *of_states(run), *found, *_refused(run), *_cancelled(run)]


def _left_out(run: Run, bars: Bars) -> list[str]:
    """The symbols that nothing could be done with."""
    names = [symbol for symbol, has in zip(bars.symbols, _present(bars, len(run.ts)), strict=True) if not has]
    span = f"from {day_of(run.ts[0])} to {day_of(run.ts[-1])}"
    told = f"Without a bar {span}, and so left out of buy and hold, too: {joined_names(names, 'symbols')}."
    return [told] if names else []


def _present(bars: Bars, n_rows: int) -> BoolArray:
    """(n_symbols,) whether a symbol has a bar among the decided ones, the last `n_rows`."""
    return np.asarray(np.isfinite(bars.close[bars.n_bars - n_rows :]).any(axis=0))


def beside(name: str, sentences: Sequence[str]) -> list[str]:
    """Sentences of an account that stands beside the strategy's."""
    return [f"{name}: {sentence}" for sentence in sentences]


def of_states(run: Run) -> list[str]:
    """Since when the book was halted, and how long it might only reduce, by its falls."""
    falls = drawdowns(run.equity_curve)
    found = []
    reducing = [row for row, state in enumerate(run.states) if state is TradingState.REDUCING]
    if reducing:
        first = reducing[0]
        found.append(
            f"On {len(reducing):,} of {len(run.ts):,} bars, the first of {day_of(run.ts[first])} after a fall of "
            f"{100 * falls[first]:.1f} %, the book might only reduce what it held."
        )
    if run.halted_from is not None:
        row = run.ts.index(run.halted_from)
        found.append(
            f"The book was halted on {day_of(run.halted_from)} after a fall of {100 * falls[row]:.1f} %: nothing was "
            f"decided on the {len(run.ts) - row - 1:,} bars since, whose returns are those of what it held then."
        )
    return found


def _refused(run: Run) -> list[str]:
    """What limits and rules refused, how often, and over which bars."""
    counts = {REFUSED.get(code, code): count for code, count in run.denials.most_common()}
    if run.unfilled:
        counts["orders for which the cash at the next open did not pay a single lot"] = len(run.unfilled)
    told = ", ".join(f"{what} ({'once' if n == 1 else f'{n:,} times'})" for what, n in counts.items())
    of = f"Over the {len(run.ts):,} bars from {day_of(run.ts[0])} to {day_of(run.ts[-1])}"
    return [f"{of} were refused: {told}."] if told else []


def of_actions(run: Run, currency: str) -> list[str]:
    """The splits and dividends of what was held, which no return shows."""
    splits = [f"{each.symbol} {each.action}" for each in run.all_booked if each.action.is_split]
    paid = [each.cash for each in run.all_booked if not each.action.is_split]
    told = [
        f"{len(splits)} split{'s' * (len(splits) > 1)} ({joined_names(splits, 'splits')})" if splits else "",
        f"{len(paid)} dividend{'s' * (len(paid) > 1)} of {amount(sum(paid, ZERO), currency)} together" if paid else "",
    ]
    booked = " and ".join(filter(None, told))
    return [f"Booked on what was held: {booked}."] if booked else []


def of_idle_cash(held: Run, currency: str) -> list[str]:
    """What buy and hold does not do with its dividends."""
    paid = sum((each.cash for each in held.all_booked if not each.action.is_split), ZERO)
    told = f"Buy and hold leaves its dividends, {amount(paid, currency)}, as cash, and earns nothing with them."
    return [told] if paid else []


def _cancelled(run: Run) -> list[str]:
    """The orders that a decision ended while they waited, by symbol."""
    told = ", ".join(f"{symbol} {n:,}" for symbol, n in run.cancelled_by_symbol.most_common())
    why = "no bar of their symbol came for a week, it split, or the book might only reduce or was halted meanwhile"
    never = joined_names(sorted({*run.cancelled_by_symbol} - {fill.symbol for fill in run.all_fills}), "symbols")
    more = f" Never traded at all: {never}." if never else ""
    return [f"Cancelled were orders that waited for a bar ({told}): {why}.{more}"] if told else []


def of_gaps(bars: Bars, calendars: Mapping[str, Calendar], sampling: Sampling) -> list[str]:
    """How many bars of each symbol did not come, where they are enough to be worth a word, and what that does."""
    missing = {}
    for column, symbol in enumerate(bars.symbols):
        own = bars.ts[np.isfinite(bars.close[:, column])]
        if symbol in calendars and len(own):
            expected = n_expected(own, bars.timeframe, calendars[symbol])
            if expected - len(own) >= NOTABLE * expected:
                missing[f"{symbol} {expected - len(own):,} of {expected:,}"] = len(own) / expected
    if not missing:
        return []
    told, unit = joined_names(sorted(missing, key=missing.__getitem__), "symbols"), "day" if sampling.of_days else "bar"
    sentence = (
        f"Bars that the calendar has and that did not come: {told}. Figures of a year are those of the "
        f"{len(sampling.rows) - 1:,} returns from one {unit} "
        "that no symbol lacks to the next (one without bars for more than a week, which seldom has such pauses, counts "
        "at its last close meanwhile)."
    )
    return [sentence]


def of_metrics(figures: Metrics) -> list[str]:
    """Why figures have no value; none where all have one."""
    found = []
    of_trades = "profit factor, profit a trade"
    if not figures.n_reductions:
        found.append(f"No position was made smaller, so {of_trades}, trades won and reductions won have no value.")
    elif not figures.n_trades:
        found.append(f"No position was closed in full, so {of_trades} and trades won have no value.")
    elif figures.profit_factor is None:
        found.append("No trade lost, so the profit factor has no value.")
    return [*found, *_of_returns(figures)]


def _of_returns(figures: Metrics) -> list[str]:
    """Why figures of the equity have no value."""
    found = []
    ruined = figures.max_drawdown_pct >= WHOLE_PCT
    if ruined:
        found.append("The equity fell to zero or below, so volatility, Sharpe and Sortino ratio have no value.")
    elif figures.volatility_pct is None:
        found.append("There is only one return, so volatility and Sharpe ratio have no value.")
    if not figures.max_drawdown_pct and not figures.total_return_pct:
        found.append("The equity did not move, so ratios to its risk have no value.")
    elif not figures.max_drawdown_pct:
        found.append("The equity never fell, so Sortino and Calmar ratio have no value.")
    elif figures.sharpe is None and figures.volatility_pct is not None:
        found.append("The returns did not differ, so the Sharpe ratio has no value.")
    if figures.sortino is None and figures.max_drawdown_pct and not ruined:
        found.append("No return was notably below zero, so the Sortino ratio has no value.")
    if figures.cagr_pct is None:
        why = _no_growth(figures)
        found.append(f"{why}, so growth a year and Calmar ratio have no value.")
    if figures.sharpe is not None and figures.years < A_YEAR:
        years = f"{figures.years:.2f}" if figures.years >= A_HUNDREDTH else f"{figures.years:.2g}"
        found.append(
            f"The bars make {years} of a year: by chance alone a Sharpe ratio of so few is up to "
            f"{TWO_SIDED / math.sqrt(figures.years):.1f} off (95 %), and all figures a year are guesses."
        )
    return found


def _no_growth(figures: Metrics) -> str:
    if figures.total_return_pct <= -WHOLE_PCT:
        return "No equity was left"
    if figures.years * YEAR_DAYS < FEWEST_DAYS:
        return f"The bars span fewer than {FEWEST_DAYS} days, which tell nothing of a year"
    return "A year at this pace would make more than a millionfold of the equity"


def _ended(run: Run, bars: Bars) -> list[str]:
    """Symbols that are held at the end although their bars ended long before."""
    found = []
    for column, symbol in enumerate(bars.symbols):
        last = bars.ts[np.flatnonzero(np.isfinite(bars.close[:, column]))[-1:]]
        if len(last) and run.held[-1, column] and bars.ts[-1] - last[0] > LONGEST_CLOSURE:
            found.append(
                f"{symbol} had no bar after {day_of(utc(last[0]))} and counts at its close of then to the end: what "
                "became of it, and how it moved, is in no figure."
            )
    return found


def _too_dear(run: Run, bars: Bars, lots: Mapping[str, Lot]) -> list[str]:
    """Symbols that were never bought since the smallest lot costs more than was meant for them."""
    traded = {fill.symbol for fill in run.all_fills}
    meant = np.nan_to_num(run.targets) * run.equity_curve[:, None]
    found = []
    for column, symbol in enumerate(run.symbols):
        step, rows = lots[symbol].quantity_step, np.flatnonzero(meant[:, column] > 0)
        cost, money = float(step) * bars.close[-len(run.ts) :, column][rows], meant[rows, column]
        if symbol not in traded and len(rows) and bool((cost > money).all()):
            nearest = int(np.argmin(cost - money))
            found.append(
                f"{symbol} was not bought: its smallest lot, {step:f}, cost {amount(cost[nearest])} where "
                f"{amount(money[nearest])} was meant for it. More cash changes that, or smaller lots "
                "(import_data --asset-class crypto has those of coins)."
            )
    return found


def _silent(log: DecisionLog, bars: Bars, columns: Sequence[str]) -> list[str]:
    """Symbols of which no model spoke at any bar, and the features that they lack."""
    found, present = [], _present(bars, len(log.ts))
    for column, symbol in enumerate(log.symbols):
        if present[column] and not np.isfinite(log.probability[:, column]).any():
            lacking = joined_names(never(log.features[:, column], columns))
            why = f": {lacking} had no value at any bar" if lacking else ", since no row of its features was complete"
            no_volume = not np.nan_to_num(bars.volume[:, column]).any()
            without = ", as its volume is always 0; a model that is trained on such symbols alone does without them"
            found.append(f"No model spoke of {symbol}{why}{without * no_volume}.")
    return found


def never(features: FloatArray, columns: Sequence[str]) -> tuple[str, ...]:
    """The names of the features, the last axis, that never have a value."""
    empty = np.asarray(np.isnan(features).all(axis=tuple(range(features.ndim - 1))))
    return tuple(name for name, is_empty in zip(columns, empty, strict=False) if is_empty)


def joined_names(names: Sequence[str], of: str = "features") -> str:
    """The first of the names, and how many more there are; empty of none."""
    more = f" and {len(names) - SHOWN} more {of}" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
