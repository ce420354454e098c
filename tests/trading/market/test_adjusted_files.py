"""Prices that are adjusted already are not adjusted twice: what tells them, of splits of any size and of dividends."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from tests.support import apple
from tests.support.apple import action
from trading.market import action_evidence, read
from trading.market.bars import BarTable, split
from trading.market.calendars import Calendar
from trading.models import CorporateAction, MarketOHLC

pytestmark = pytest.mark.django_db
NEW_YORK = Calendar("XNYS")
CLOSES = NEW_YORK.grid("1d", np.datetime64("2018-01-01"), np.datetime64("2021-12-31"))
DAYS = CLOSES.astype("datetime64[D]").astype(str).tolist()
EX = 300  # the day of a split
PAID = range(60, len(DAYS), 63)  # the days of dividends
Import = Callable[..., dict]


def walk(jumps: dict[int, float]) -> list[tuple[float, float]]:
    """The open and close of each day of a stock whose price changes so over the nights before some days."""
    rng = np.random.default_rng(3)
    nights, days = rng.standard_t(3, len(DAYS)) * 0.004, rng.normal(0, 0.01, len(DAYS))
    for day, jump in jumps.items():
        nights[day] += math.log(jump)
    moves = np.cumsum(np.column_stack([nights, days]).ravel())
    return [(open_, close) for open_, close in (100 * np.exp(moves)).reshape(-1, 2).tolist()]


@pytest.fixture
def put(tmp_path: Path) -> Import:
    def run(text: str, *options: str) -> dict:
        path = tmp_path / "file.csv"
        path.write_text(text)
        out = io.StringIO()
        call_command("import_data", str(path), "--symbol", "ACME", "--json", *options, stdout=out)
        return json.loads(out.getvalue())

    return run


def bars(rows: list[tuple[float, float]], first: int = 0) -> str:
    lines = (f"{day},{o},{max(o, c)},{min(o, c)},{c},1" for day, (o, c) in zip(DAYS[first:], rows[first:], strict=True))
    return "date,open,high,low,close,volume\n" + "\n".join(lines)


def prices(put: Import, jumps: dict[int, float], *options: str, first: int = 0) -> dict:
    return put(bars(walk(jumps), first), "--timeframe", "1d", "--asset-class", "equity", *options)


def actions(put: Import, **lines: str) -> dict:
    (kind, text), *_ = lines.items()
    return put(f"date,{kind}\n{text}", "--actions")


def dividends(share: float) -> str:
    """Dividends of so much of the close before them, in prices as they were traded."""
    rows = walk(dict.fromkeys(PAID, 1 - share))
    return "".join(f"{DAYS[k]},{rows[k - 1][1] * share!r}\n" for k in PAID)


@pytest.mark.parametrize("ratio", ["7:5", "4:3", "5:4", "6:5", "4:5", "1:1.3", "2:1"])
def test_a_split_of_any_size_is_stored_beside_prices_that_show_it_and_beside_no_others(put: Import, ratio: str) -> None:
    new, old = map(float, ratio.split(":"))
    prices(put, {})
    with pytest.raises(CommandError, match=f"{DAYS[EX]} is not in them.* Adjusted prices would be adjusted twice"):
        actions(put, split=f"{DAYS[EX]},{ratio}")
    prices(put, {EX: old / new}, "--replace")
    assert actions(put, split=f"{DAYS[EX]},{ratio}")["assumed"] == []
    with pytest.raises(CommandError, match="is not in them"):
        prices(put, {}, "--replace")
    assert prices(put, {EX: old / new}, "--replace")["understood"]["actions"].startswith("1 splits and 0 dividends are")


@pytest.mark.parametrize("line", [f"{DAYS[EX]},4:5", f"{DAYS[EX + 1]},5:4", f"{DAYS[EX - 1]},5:4"])
def test_a_split_the_other_way_round_or_on_another_day_is_refused(put: Import, line: str) -> None:
    prices(put, {EX: 4 / 5})
    with pytest.raises(CommandError, match="is not in them"):
        actions(put, split=line)
    assert not CorporateAction.objects.exists()


def test_a_split_that_nights_hide_is_stored_with_a_word(put: Import) -> None:
    prices(put, {EX: 50 / 51})
    (told,) = actions(put, split=f"{DAYS[EX]},51:50")["assumed"]
    assert told.startswith(f"WARNING: whether prices show the split 51 for 50 on {DAYS[EX]} cannot be told: the close")
    assert told in prices(put, {EX: 50 / 51})["assumed"]


def test_dividends_are_judged_together(put: Import) -> None:
    prices(put, {})
    with pytest.raises(
        CommandError, match=r"the 16 dividends of .* are not in them: over such a night they move by .*%"
    ):
        actions(put, dividend=dividends(0.01))
    prices(put, dict.fromkeys(PAID, 0.99), "--replace")
    assert actions(put, dividend=dividends(0.01))["assumed"] == []
    with pytest.raises(CommandError, match="are not in them"):
        prices(put, {}, "--replace")


def test_small_dividends_are_stored_with_a_word(put: Import) -> None:
    prices(put, dict.fromkeys(PAID, 0.999))
    (told,) = actions(put, dividend=dividends(0.001))["assumed"]
    assert told.startswith("whether prices show the 16 dividends of 2018-03-29 to ")


@pytest.mark.parametrize(
    ("options", "first"), [(("--replace",), 0), (("--replace", "--dry-run"), 0), ((), 0), ((), 400)]
)
def test_stored_prices_are_not_replaced_by_ones_that_are_adjusted_for_small_dividends(
    put: Import, options: tuple[str, ...], first: int
) -> None:
    rows = walk(dict.fromkeys(PAID, 0.998))
    put(bars(rows), "--timeframe", "1d", "--asset-class", "equity")
    actions(put, dividend=dividends(0.002))
    before = closes()
    backward = [(o * 0.998**n, c * 0.998**n) for (o, c), n in zip(rows, _later(), strict=True)]
    with pytest.raises(CommandError, match=r"differ from the stored ones by \d+ dividends.* a file of none"):
        put(bars(backward, first), "--timeframe", "1d", *options)
    assert closes() == before
    put("date,dividend\n", "--actions", "--replace")
    assert not CorporateAction.objects.exists()
    assert "actions" not in put(bars(backward, first), "--timeframe", "1d", *options)["understood"]


def closes() -> list[float]:
    return [*MarketOHLC.objects.order_by("bar_ts").values_list("close", flat=True)]


def _later() -> list[int]:
    """How many dividends are paid behind each day."""
    return [sum(paid > day for paid in PAID) for day in range(len(DAYS))]


def evidence(table: BarTable, row: int, ratio: Fraction, *, shown: bool) -> float:
    """The odds against a split that real prices show, or do not, before the day of a row."""
    day = str(table.ts[row].astype("datetime64[D]"))
    made = action(day, "split", ratio.numerator, per=ratio.denominator)
    known = {}
    for moment, (before, after) in action_evidence.spans(table, action_evidence.moments([made])).items():
        known[moment] = (
            before,
            after / float(ratio) if shown and moment == made.ex_ts else after,
        )
    (night,) = action_evidence.judged([made], known)
    return night.odds


@pytest.mark.parametrize(("ratio", "told"), [(Fraction(2), 0.99), (Fraction(5, 4), 0.95), (Fraction(11, 10), 0.6)])
def test_of_apples_nights_no_split_that_is_shown_is_refused_and_most_that_are_not(ratio: Fraction, told: float) -> None:
    (table,) = split(apple.traded())
    rows = range(60, table.n_rows - 60, 11)
    assert sum(evidence(table, row, ratio, shown=True) > action_evidence.CERTAIN for row in rows) == 0
    missed = [evidence(table, row, ratio, shown=False) > action_evidence.CERTAIN for row in rows]
    assert np.mean(missed) > told


def test_a_still_price_shows_nothing_of_small_moves() -> None:
    """Of nights without a move none tells how large a move is."""
    still = dict.fromkeys(action_evidence.moments([action("2019-03-14", "split", 2)]), (0.02, 0.02))
    (night,) = action_evidence.judged([action("2019-03-14", "split", 21, per=20)], still)
    assert night.usual == action_evidence.USUAL
    assert abs(night.odds) < action_evidence.CERTAIN


def test_a_night_that_moved_alone_is_no_measure_of_the_others() -> None:
    """The next night is one of a true split: it must not make the wrong day of it likely."""
    still = dict.fromkeys(action_evidence.moments([action("2019-03-14", "split", 10)]), (4498.25, 4498.25))
    (true,) = action_evidence.moments([action("2019-03-15", "split", 10)])[action_evidence.AROUND :][:1]
    (night,) = action_evidence.judged([action("2019-03-14", "split", 10)], {**still, true: (4498.25, 449.825)})
    assert (night.usual, night.odds > action_evidence.CERTAIN) == (action_evidence.USUAL, True)


@pytest.mark.parametrize("ratio", ["10:1", "1:50"])
def test_a_dividend_behind_a_split_is_of_a_share_of_then_though_no_bar_lies_between(put: Import, ratio: str) -> None:
    """A twentieth of what a share is worth by then, after a reverse split more than one was worth before."""
    new, old = map(float, ratio.split(":"))
    rows = walk({EX + 1: (1 - 0.05) * old / new})
    value = rows[EX - 1][1] * old / new * 0.05
    lines = bars(rows).splitlines()
    text = "\n".join(line for line in lines if not line.startswith(DAYS[EX]))
    put(text, "--timeframe", "1d", "--asset-class", "equity")
    put(f"date,split,dividend\n{DAYS[EX]},{ratio},\n{DAYS[EX + 1]},,{value!r}\n", "--actions")
    dividend = read.actions(["ACME"], "1d")[-1]
    assert dividend.factor == pytest.approx(1 / 0.95)
    assert put(text, "--timeframe", "1d")["series"][0]["unchanged"] == len(DAYS) - 1
