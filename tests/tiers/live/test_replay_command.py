"""`manage.py replay`: what it refuses leaves nothing, what was interrupted can be gone on with."""

import io
import json
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from helios.stack import processes, runner, workers
from helios.stack.processes import ProcessSpec
from tests.support.commands import answered, printed
from tests.support.live_market import make_bars, stored_market
from tiers.live import chain, stages
from tiers.live import replay as replaying
from tiers.management.commands import demo_book
from tiers.management.commands import replay as replay_command
from trading.books import write as books
from trading.market import instruments
from trading.market import write as market_service
from trading.models import Book, MarketOHLC, MLModel, MLPrediction, PipelineCycle, Position, TradingModeChange

pytestmark = pytest.mark.django_db


@pytest.fixture
def market(db, clean_redis):
    """Bars of two symbols, and a champion whose weights nobody will find: its forecasts are neutral."""
    stored_market()


@pytest.fixture
def inline(monkeypatch):
    """The chain runs here, stage after stage, instead of in workers."""

    def send(cycle_id, _first):
        for stage in chain.STAGES:
            stages.run_stage(cycle_id, stage)
        return True

    monkeypatch.setattr(chain, "send_chain", send)
    monkeypatch.setattr(replaying, "require_workers", lambda: None)


def replay(*words):
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("replay", *words, "--json", stdout=out, stderr=err)
    finally:
        sys.stderr.write(err.getvalue())
    return json.loads(out.getvalue())


DESK = ("--symbols", "AAPL,IBM", "--bars", "4", "--name", "desk")


def test_without_workers_nothing_is_made_and_the_advised_retry_runs(market, monkeypatch, request):
    with pytest.raises(CommandError, match=r"no worker listens .* --workers"):
        replay(*DESK)
    assert not Book.objects.exists()
    request.getfixturevalue("inline")
    assert replay(*DESK)["cycles"] == {"run": 4, "done": 4}


def test_workers_that_do_not_start_leave_no_book(market, monkeypatch):
    argv = [sys.executable, "-c", "raise SystemExit('no module named so')"]
    monkeypatch.setattr(processes, "workers", lambda _: [ProcessSpec(name="worker", argv=argv)])
    monkeypatch.setattr(workers, "PING_S", 0.05)
    monkeypatch.setattr(runner, "pause_s", lambda _: 0.0)
    with pytest.raises(CommandError, match="no module named so"):
        replay(*DESK, "--workers")
    assert not Book.objects.exists()


def test_the_workers_are_looked_after_at_every_bar(market, inline, monkeypatch):
    """The runner's tick is what starts a killed worker again; its own tests show that it does."""
    ticks = []
    looked_after = SimpleNamespace(tick=lambda: ticks.append(PipelineCycle.objects.count()))
    monkeypatch.setattr(replay_command, "running_workers", lambda: nullcontext(looked_after))
    assert replay(*DESK, "--workers")["cycles"] == {"run": 4, "done": 4}
    assert sorted(set(ticks)) == [1, 2, 3, 4]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143), ConnectionError("gone")])
def test_a_replay_that_ends_before_its_first_cycle_takes_its_book_along(market, inline, monkeypatch, end):
    def start(_book, _bar_ts):
        raise end

    monkeypatch.setattr(chain, "start", start)
    with pytest.raises(type(end)):
        replay(*DESK)
    assert not Book.objects.exists()
    assert not Position.objects.exists()


def test_a_replay_that_was_interrupted_says_how_to_go_on_and_goes_on(market, inline, monkeypatch, capsys):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(replaying, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt):
            replay(*DESK)
    assert "`manage.py replay --resume desk`" in capsys.readouterr().err
    assert replay("--resume", "desk")["cycles"] == {"run": 3, "done": 3}
    bars = list(Book.objects.get().cycles.order_by("bar_ts").values_list("bar_ts", flat=True))
    assert [bars[0], bars[-1], len(bars)] == [Book.objects.get().replay_from, Book.objects.get().replay_until, 4]


def test_a_cycle_that_was_left_half_done_is_finished_first(market, inline, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(chain, "send_chain", lambda *_: False)
        with pytest.raises(CommandError, match="must end within"):
            replay(*DESK, "--timeout", "0.01")
    monkeypatch.setattr(chain, "recover", lambda **_: chain.send_chain(Book.objects.get().cycles.get().pk, "all"))
    assert replay("--resume", "desk")["cycles"] == {"run": 3, "done": 3}
    assert Book.objects.get().cycles.filter(status="DONE").count() == 4


def test_only_a_replay_with_bars_left_is_gone_on_with(market, inline):
    with pytest.raises(CommandError, match="book 'desk' does not exist"):
        replay("--resume", "desk")
    replay(*DESK)
    with pytest.raises(CommandError, match="'desk' has decided on all of its"):
        replay("--resume", "desk")
    books.set_active("desk", active=True, actor="ana", reason="")
    with pytest.raises(CommandError, match="stands still, 'desk' is active"):
        replay("--resume", "desk")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--name", "No Spaces"), "name"),
        (("--source", "nowhere"), "source must be table, sample or file:PATH"),
        (("--source", "file:gone.csv", "--symbols", "IBM"), "must be a file that exists"),
        (("--timeout", "0"), "--timeout must be more than zero"),
        (("--timeout", "nan"), "--timeout must be more than zero"),
        (("--symbols", "NOPE,aapl"), "unknown: NOPE, aapl"),
        (("--symbols", "AAPL,NOPE"), "unknown: NOPE"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_made(market, inline, words, told):
    with pytest.raises(CommandError, match=told):
        replay(*DESK, *words)
    assert not Book.objects.exists()


def test_a_file_of_other_bars_than_are_stored_is_refused_before_anything_is_made(market, inline, tmp_path):
    close = MarketOHLC.objects.filter(symbol="IBM").latest("bar_ts")
    path = tmp_path / "other.csv"
    path.write_text(f"ts,open,high,low,close,volume\n{close.bar_ts.isoformat()},1,1,1,1,7\n")
    with pytest.raises(CommandError, match=r"must have the bars of IBM that are stored, has open 1 of .* import_data"):
        replay("--symbols", "IBM", "--bars", "4", "--source", f"file:{path}")
    assert not Book.objects.exists()


def test_a_taken_name_is_told_in_words(market, inline):
    replay(*DESK, "--params", '{"execute": {"max_notional": "7"}}')
    assert Book.objects.get().params == {"execute": {"max_notional": "7"}}
    with pytest.raises(CommandError, match="PipelineParams"):
        replay(*DESK[:-1], "other", "--params", '{"most": 1}')
    with pytest.raises(CommandError, match="a new book's name must be free, was taken: desk"):
        replay(*DESK)


@pytest.mark.parametrize("command", [("replay", *DESK, "--continuous"), ("demo_book", "--symbols", "AAPL,IBM")])
def test_a_book_for_beat_is_made_and_started_at_once_or_not_at_all(market, monkeypatch, command):
    def refuse(*_args, **_options):
        raise CommandError("not now")

    with monkeypatch.context() as patch:
        patch.setattr(demo_book.books, "set_active", refuse)
        with pytest.raises(CommandError, match="not now"):
            call_command(*command)
    assert not Book.objects.exists()
    call_command(*command, stdout=io.StringIO())
    assert Book.objects.get().active
    assert TradingModeChange.objects.get().after == "active"


def test_a_demo_book_that_a_person_stopped_stays_so(market):
    words = ("demo_book", "--symbols", "AAPL,IBM")
    made = answered(*words)
    books.set_active(made["book"], active=False, actor="ana", reason="enough")
    assert answered(*words) == {"book": made["book"], "created": False, "active": False}


def test_no_demo_book_trades_bars_that_the_model_has_seen(market):
    MLModel.objects.update(trained_to=datetime(2100, 1, 1, tzinfo=UTC))
    assert answered("demo_book", "--symbols", "AAPL,IBM") == {"book": None, "created": False, "active": False}
    assert "trained on all bars" in printed("demo_book", "--symbols", "AAPL,IBM")
    assert not Book.objects.exists()


def test_a_cycle_is_made_only_for_a_bar_that_exists(market, inline):
    """One for a bar of the future would stand before every real one."""
    money = {"initial_cash": 1000, "fee_bps": 0, "slippage_bps": 0}
    book = books.create_book("paper", mode="paper", timeframe="1d", symbols=["AAPL"], **money)
    with pytest.raises(CommandError, match="book 'paper' has no bar at 2099-01-02T21:00:00"):
        call_command("run_cycle", "--book", "paper", "--bar", "2099-01-02T21:00")
    assert not book.cycles.exists()


def test_without_a_terminal_the_first_bar_is_told_and_then_every_fiftieth(capsys):
    with replay_command._progress(2_000) as advance:
        for _ in range(120):
            advance()
    told = capsys.readouterr().err.splitlines()
    assert told == [f"replayed {done} of 2000 bars" for done in (1, 50, 100)]


def test_a_replay_from_a_day_leaves_the_bar_that_ends_the_day_before_to_that_day(market, inline):
    bars = make_bars(("BTC/USD",), n_bars=120, seed=5)
    instruments.ensure_instrument("BTC/USD", "crypto")
    days = np.datetime64("2021-01-04") + np.arange(120)
    market_service.upsert_bars(replace(bars, ts=days.astype("datetime64[us]")), source="test")
    MLModel.objects.update(symbols=["AAPL", "BTC/USD"])
    words = ("--symbols", "AAPL,BTC/USD", "--bars", "2", "--name", "both", "--no-auto-trading")
    assert replay(*words, "--from", "20210202")["first_bar"] == "2021-02-02T21:00:00+00:00"
    with pytest.raises(CommandError, match="--from must be a date as YYYYMMDD, was '20210230'"):
        replay(*words, "--from", "20210230")


@pytest.mark.parametrize(
    ("currency", "fees", "equity"),
    [("BTC", "0.000125 BTC", "0.0996 BTC"), ("USD", "$0.000125", "$0.0996"), (None, "0.000125", "0.0996")],
)
def test_amounts_are_told_in_the_currency_of_the_book(capsys, currency, fees, equity):
    counts, told = {"run": 4}, ("book", "first_bar", "last_bar", "state")
    result = {
        **dict.fromkeys(told, "desk"),
        "latency": {},
        "cycles": counts,
        "orders": counts,
        "fills": 1,
        "fees_paid": "0.00012510",
        "final_equity": "0.09961861",
        "currency": currency,
        "total_return_pct": -0.38,
        "ledger": {"entries": 2, "intact": True},
        "bars_seen_in_training": 0,
    }
    replay_command.show(result)
    lines = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    shown = {line[1].strip(): line[2].strip() for line in lines}
    assert (shown["fees paid"], shown["final equity"]) == (fees, equity)


@pytest.mark.parametrize("n_seen", [0, 3])
def test_bars_on_which_the_model_was_trained_are_told(market, inline, capsys, n_seen):
    result = replay(*DESK)
    spoken = MLPrediction.objects.order_by("bar_ts", "symbol")
    spoken.update(model=MLModel.objects.get(), p_sell=0.3, p_hold=0.4, p_buy=0.3)
    times = sorted({each.bar_ts for each in spoken})
    MLModel.objects.update(trained_to=times[n_seen - 1] if n_seen else times[0] - timedelta(days=1))
    ids = list(PipelineCycle.objects.values_list("pk", flat=True))[2:]  # as after an interruption
    found = replaying.summary(Book.objects.get().pk, ids, elapsed_s=1.0)
    assert (result["bars_seen_in_training"], found["bars_seen_in_training"]) == (0, n_seen)
    replay_command.show(found)
    told = "In sample: 3 of the book's bars are no later than the training of the model that spoke there."
    assert (told in capsys.readouterr().out) is (n_seen > 0)
