"""`download_data --dl-trades` against a stand-in of VALR: a real market's trades, each once, whatever comes between."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from helios import progress
from helios.env import get_env
from tests.support.commands import answered
from tests.support.venues.tape import MINUTE, Tape, Trade, taped
from tests.support.venues.valr import StandIn, trade_row
from tests.support.xrp_eth import real_tape
from tiers.ingest.minutes import Minutes
from tiers.live.feed import recorder
from tiers.live.feed.recorder import KnownMinute
from trading.models import MarketOHLC, MarketTrade
from trading.venues import rest
from trading.venues.streaming import Trade as Heard
from trading.venues.valr import client, market, messages

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("venue_process", "no_pauses")]
START = datetime(2026, 1, 5, tzinfo=UTC)
TWO_DAYS = ("--timerange", "20260105-20260106")
BTC = "VALR:BTC-ZAR"
Row = tuple[datetime, str, str, Decimal, Decimal]


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PUBLIC", (100_000, 1.0))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, dict[str, Any]]]:
    def download(venue: StandIn, *words: str, pair: str = "BTC-ZAR") -> dict[str, dict[str, Any]]:
        monkeypatch.setenv("HELIOS_VALR_URL", venue.url)
        get_env.cache_clear()
        rows = answered("download_data", "--dl-trades", "--pairs", pair, *words)["trades"]
        return {row.pop("symbol"): row for row in rows}

    return download


def stand_in(tape: Tape) -> StandIn:
    return StandIn({("BTC", "ZAR"): tape}, limited=False)


def two_days() -> Tape:
    """A trade every minute, sides in turn; five more at the midnight between, and three in each last millisecond."""
    times = [START + number * MINUTE for number in range(2 * 1440)]
    times += [START + timedelta(days=1)] * 5
    times += [START + timedelta(days=day) - timedelta(milliseconds=1) for day in (1, 2)] * 3
    return taped((at, str(100 + n % 11), "0.5", ("buy", "sell")[n % 2]) for n, at in enumerate(sorted(times)))


def of(tape: Tape) -> list[Row]:
    return sorted((one.at, one.id, one.side.upper(), Decimal(one.price), Decimal(one.quantity)) for one in tape.trades)


def stored(symbol: str = BTC) -> list[Row]:
    columns = ("ts", "trade_id", "side", "price", "quantity")
    return sorted(MarketTrade.objects.filter(symbol=symbol).values_list(*columns))


def figures(inserted: int, unchanged: int = 0) -> dict[str, Any]:
    return {"inserted": inserted, "unchanged": unchanged, "bad": 0, "first_bad": ""}


def test_a_download_tells_how_far_it_is_where_no_bar_is_drawn(
    run: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "TOLD_EVERY_S", 0.0)
    with stand_in(two_days()) as venue:
        run(venue, *TWO_DAYS)
        assert capsys.readouterr().err == ""  # of --json
        call_command("download_data", "--dl-trades", "--pairs", "BTC-ZAR", *TWO_DAYS)
    assert re.search(r"VALR:BTC-ZAR, time to 2026-01-06 00:00: 1,\d\d\d trades so far\n", capsys.readouterr().err)


def test_a_real_market_is_stored_trade_by_trade_and_asked_again_adds_none(run: Any) -> None:
    tape, words = real_tape(), ("--timerange", "20191011-20191013")
    with StandIn({("XRP", "ETH"): tape}, limited=False) as venue:
        assert run(venue, *words, pair="XRP-ETH") == {"VALR:XRP-ETH": figures(len(tape.trades))}
        assert run(venue, *words, pair="XRP-ETH") == {"VALR:XRP-ETH": figures(0, len(tape.trades))}
    assert stored("VALR:XRP-ETH") == of(tape)


def test_trades_of_one_moment_at_the_end_of_a_page_or_a_day_are_neither_lost_nor_doubled(run: Any) -> None:
    tape = two_days()
    with stand_in(tape) as venue:
        assert run(venue, *TWO_DAYS) == {BTC: figures(len(tape.trades))}
    assert stored() == of(tape)
    moment = taped((START + timedelta(hours=1), "100", "0.5") for _ in range(250))
    MarketTrade.objects.all().delete()
    with stand_in(moment) as venue:
        assert run(venue, *TWO_DAYS) == {BTC: figures(250)}
    assert stored() == of(moment)


def test_what_was_interrupted_goes_on_there(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = two_days()
    with stand_in(tape) as venue:
        right = venue.answer
        monkeypatch.setattr(venue, "answer", lambda *asked: right(*asked) if venue.asked.total() < 22 else (500, b""))
        with pytest.raises(CommandError, match="VALR answered /v1/public/BTCZAR/trades with status 500"):
            run(venue, *TWO_DAYS)
        of_first = [row for row in of(tape) if row[0] < START + timedelta(days=1)]
        assert stored() == of_first
        monkeypatch.setattr(venue, "answer", right)
        monkeypatch.setattr("django.utils.timezone.now", lambda: START + timedelta(days=2, seconds=30))
        left = len(tape.trades) - len(of_first)
        again = sum(row[0] >= of_first[-1][0].replace(hour=23, minute=0, second=0, microsecond=0) for row in of_first)
        assert run(venue) == {BTC: figures(left, again)}
    assert stored() == of(tape)


def wrong(one: Trade, **other: Any) -> dict[str, Any]:
    return trade_row("BTCZAR", one) | other


ONE = two_days().trades[0]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((200, [wrong(ONE, currencyPair="ETHZAR")]), "VALR must answer with trades of BTCZAR, was one of ETHZAR"),
        ((200, b'[{"price": "1'), "VALR must answer /v1/public/BTCZAR/trades in JSON"),
        ((200, {"trades": []}), "VALR must answer with a list of trades"),
        ((200, [wrong(ONE, takerSide="hold")]), "VALR must tell takerSide as buy or sell, was 'hold'"),
        ((200, [wrong(ONE, takerSide=["buy"])]), "VALR must tell takerSide as buy or sell"),
        ((200, [wrong(ONE, tradedAt="yesterday")]), "VALR must tell times as"),
        ((200, [wrong(ONE, id="a\tb")]), "VALR must tell id of a trade as a word or a number"),
        ((200, [wrong(ONE, id=None)]), "VALR must tell id of a trade"),
        ((200, {"code": -1, "message": "Internal"}), "VALR answered .* with an error: -1 Internal"),
        ((400, {"code": -21, "message": "Unknown"}), "VALR refused .* with status 400: -21 Unknown"),
        ((503, b""), "with status 503"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence_and_stores_nothing(run: Any, answer: tuple, told: str) -> None:
    with stand_in(two_days()) as venue:
        venue.faults.next("/trades", *[answer] * rest.TRIES)
        with pytest.raises(CommandError, match=told):
            run(venue, *TWO_DAYS)
    assert not stored()


def test_a_trade_that_breaks_a_rule_is_left_out_and_counted_and_one_told_twice_counts_once(run: Any) -> None:
    tape = taped((START + number * MINUTE, "100", "0.5") for number in range(6))
    rows = [trade_row("BTCZAR", one) for one in tape.trades]
    bad = [rows[0] | {"price": "0"}, rows[1] | {"quantity": "-1"}, rows[2] | {"price": "many"}]
    page = [*bad, rows[3], rows[3] | {"quantity": "7"}, rows[4], rows[4], rows[5]][::-1]
    with stand_in(tape) as venue:
        venue.faults.next("/trades", (200, page), (200, []))
        got = run(venue, *TWO_DAYS)[BTC]
    assert (got["inserted"], got["bad"]) == (3, 4)
    assert got["first_bad"] == "VALR:BTC-ZAR row 1, column price: expected a price above 0, was 0.0"
    assert stored() == of(tape)[3:]


def test_pages_that_never_end_are_given_up(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = two_days()
    with stand_in(tape) as venue:
        same = [wrong(one) for one in tape.trades[:100]]
        monkeypatch.setattr(venue, "_trades", lambda *_: (200, same))
        with pytest.raises(CommandError, match="VALR must end its pages of trades of BTCZAR, went on after 2"):
            run(venue, *TWO_DAYS)
        monkeypatch.setattr(market, "PAGES", 5)
        monkeypatch.setattr(venue, "_trades", lambda *_: (200, [wrong(ONE, id=f"n-{venue.asked.total()}")]))
        with pytest.raises(CommandError, match="went on after 6"):
            run(venue, *TWO_DAYS)
        before = [wrong(one, tradedAt="2026-01-03T00:00:00Z") for one in tape.trades[:100]]
        monkeypatch.setattr(venue, "_trades", lambda *_: (200, before))  # as if it knew of no startTime
        assert run(venue, *TWO_DAYS) == {BTC: figures(0)}
    assert not stored()


def hear(tape: Tape, first: datetime, n_minutes: int, *, named: bool = True) -> None:
    """What the stream stores of some minutes of which it heard everything."""
    sent: list[str] = []
    venue = stand_in(tape)
    venue.stream.change = lambda text: sent.append(text) or []  # type: ignore[func-returns-value]
    minutes = Minutes(symbol=BTC, until=int(first.timestamp()) * 1_000_000, heard_from=0)
    for start in (first + number * MINUTE for number in range(n_minutes)):
        for one in tape.between(start, start + MINUTE):
            venue.stream.trade("BTCZAR", one)
        for bar in tape.minutes(start, start + MINUTE):
            venue.stream.bucket("BTCZAR", bar)
    told = []
    for found in map(messages.read, sent):
        if isinstance(found, Heard):
            minutes.trade(found.at, found.price, found.quantity, found.side, found.trade_id if named else "")
        else:
            closed = minutes.bar(found.close, found.row)  # type: ignore[union-attr]
            told.append(KnownMinute(closed=closed, higher=[], until=minutes.until))
    recorder.write(told, "valr:stream")
    recorder.write_trades_and_books([one.closed for one in told])


@pytest.mark.parametrize("streamed_first", [True, False])
def test_what_the_stream_stored_too_is_there_once(run: Any, streamed_first: bool) -> None:
    tape, first = two_days(), START + timedelta(hours=23, minutes=50)
    with stand_in(tape) as venue:
        for step in (True, False):
            if step is streamed_first:
                hear(tape, first, 30)
            else:
                run(venue, *TWO_DAYS)
    assert stored() == of(tape)
    assert MarketOHLC.objects.count() == 30  # those of the stream: trades make no bars


def test_what_the_stream_stored_without_ids_is_there_once_too(run: Any) -> None:
    tape = two_days()
    hear(tape, START + timedelta(hours=23, minutes=50), 30, named=False)
    with stand_in(tape) as venue:
        heard = len(stored())
        assert run(venue, *TWO_DAYS) == {BTC: figures(len(tape.trades) - heard, heard)}
        assert run(venue, *TWO_DAYS) == {BTC: figures(0, len(tape.trades))}
    assert sorted(row[:1] + row[2:] for row in stored()) == sorted(row[:1] + row[2:] for row in of(tape))


def test_trades_have_no_timeframes_and_are_told_in_one_sentence(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with stand_in(two_days()) as venue:
        with pytest.raises(CommandError, match="--dl-trades stores trades as they came: they have no --timeframes"):
            run(venue, "--timeframes", "1d")
        run(venue, "--timerange", "20260105-20260105")
        call_command("download_data", "--dl-trades", "--pairs", "BTC/ZAR", *TWO_DAYS)
    assert capsys.readouterr().out == f"{BTC} trades: 1448 inserted, 1443 unchanged\n"
