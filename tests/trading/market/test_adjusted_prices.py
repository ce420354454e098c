"""Adjusted prices: what a holder earned, known at each bar, the same in every window."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tests.support import apple
from tests.support.apple import action
from tests.support.backtests import market, short_params
from tests.support.market_bars import same
from tiers import features, risk
from tiers.contracts import Bars
from tiers.contracts.errors import DataError
from trading.market.adjust import adjusted, factors
from trading.market.bars import PRICES
from trading.market.timestamps import stamp

N, SPLIT_ROW = 400, 300


def walk() -> Bars:
    """Two stocks that never split."""
    return market(N, 2, seed=4)


def split_in_two(bars: Bars, row: int = SPLIT_ROW, symbol: str = "S00") -> Bars:
    """The same market where one stock splits 2 for 1 before a row: as it is traded, with the action."""
    column = bars.symbols.index(symbol)
    fields = {name: getattr(bars, name).copy() for name in (*PRICES, "volume")}
    for name in PRICES:
        fields[name][row:, column] /= 2
    fields["volume"][row:, column] *= 2
    made = action(str(bars.ts[row].astype("datetime64[D]")), "split", 2, symbol=symbol)
    return replace(bars, **fields, actions=(made,))


def test_a_split_leaves_no_trace_in_prices_volumes_and_features() -> None:
    same(adjusted(split_in_two(walk())), walk())
    one, other = (features.run({"1d": each}) for each in (adjusted(split_in_two(walk())), walk()))
    assert_array_equal(one, other)


def test_unadjusted_it_is_the_move_that_it_looks_like() -> None:
    raw, params = split_in_two(walk()), short_params().volatility
    sigma = {
        name: risk.forecast_volatility({"1d": bars}, params=params, garch=False).sigma[SPLIT_ROW]
        for name, bars in (("traded", raw), ("adjusted", adjusted(raw)), ("without", walk()))
    }
    assert_array_equal(sigma["adjusted"], sigma["without"])
    assert sigma["traded"][0] > 5 * sigma["without"][0]
    assert sigma["traded"][1] == sigma["without"][1]


@pytest.mark.parametrize(("kind", "value"), [("split", 3), ("split", "0.1"), ("dividend", "1.25")])
def test_a_later_action_changes_nothing_before_it_to_the_last_bit(kind: str, value: object) -> None:
    known = split_in_two(walk(), 100)
    later = action(str(known.ts[SPLIT_ROW].astype("datetime64[D]")), kind, value, symbol="S00", before=97.3)
    told = replace(known, actions=(*known.actions, later))
    before, after = adjusted(known), adjusted(told)
    same(after.rows(slice(0, SPLIT_ROW)), before.rows(slice(0, SPLIT_ROW)))
    assert (after.close[SPLIT_ROW:, 0] != before.close[SPLIT_ROW:, 0]).all()
    assert_array_equal(after.close[:, 1], before.close[:, 1])


def test_every_window_has_the_same_prices_to_the_last_bit() -> None:
    bars = split_in_two(walk(), 100)
    third = action(str(bars.ts[SPLIT_ROW].astype("datetime64[D]")), "split", 1, per=3, symbol="S00")
    paid = action(
        str(bars.ts[200].astype("datetime64[D]")), "dividend", "0.37", symbol="S00", before=float(bars.close[199, 0])
    )
    bars = replace(bars, actions=(*bars.actions, paid, third))
    whole = adjusted(bars)
    for window in (slice(50, 350), slice(150, 250), slice(250, 400)):
        same(adjusted(bars.rows(window)), whole.rows(window))


def test_a_dividend_takes_its_part_of_the_close_before_and_no_shares() -> None:
    paid = action("2024-03-01", "dividend", 5, before=100.0)
    assert paid.factor == pytest.approx(100 / 95)
    assert paid.shares == 1.0
    assert replace(paid, close_before=None).factor == 1.0  # no price of before is known that it could change
    with pytest.raises(DataError, match="a dividend must be less than the close before it, AAPL has a dividend of 5"):
        _ = replace(paid, close_before=5.0).factor


def test_the_return_into_an_ex_day_is_that_of_the_price_with_what_was_paid() -> None:
    """What one share of 100 is worth that pays 5 and opens at 94: 94 / 95 of what it was, reinvested at the close."""
    bars = market(2, 1)
    closes = np.array([[100.0], [94.0]])
    bars = replace(
        bars,
        **dict.fromkeys(PRICES, closes),
        actions=(action("2010-01-02", "dividend", 5, symbol="S00", before=100.0),),
    )
    close = adjusted(bars).close[:, 0]
    assert close[1] / close[0] == pytest.approx(94 / 95)


def test_bars_without_actions_are_the_ones_that_were_given() -> None:
    bars = walk()
    assert adjusted(bars) is bars


# --- with real prices ---


def test_apple_is_adjusted_as_its_factor_file_has_it() -> None:
    bars = apple.traded()
    bars = replace(bars, actions=apple.actions(bars))
    prices, shares = factors(bars)
    listed = {day: (price, split) for day, price, split in apple.factor_file()}
    first, last = date(2012, 8, 8), date(2014, 6, 6)
    rows = {day: int(np.searchsorted(bars.ts, stamp(apple.NEW_YORK.named_day(day)))) for day in (first, last)}
    ours = prices[rows[last], 0] / prices[rows[first], 0]
    theirs = listed[last][0] / listed[first][0] * listed[last][1] / listed[first][1]
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert shares[-1, 0] == 2 * 2 * 7 * 4


@pytest.mark.parametrize("day", apple.SPLITS)
def test_sigma_of_apple_sees_no_split(day: str) -> None:
    """2 for 1 in 2005: 0.024 the day before and 0.024 behind it, where it was 0.169."""
    bars = apple.traded()
    bars = replace(bars, actions=apple.actions(bars, dividends=False))
    row = int(np.searchsorted(bars.ts, np.datetime64(day)))
    params = short_params().volatility
    traded, seen = (
        risk.forecast_volatility({"1d": each}, params=params, garch=False, first_row=row - 1).sigma[:, 0]
        for each in (bars, adjusted(bars))
    )
    assert_allclose(seen[row - 1], traded[row - 1], rtol=1e-6)  # the day before nobody knows of it
    assert seen[row] < 1.2 * seen[row - 1]
    assert traded[row] > 3 * seen[row]
