"""A command that is refused leaves nothing: no row, no changed row, no file. Every command, the real database."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands
from django.db import connection

from helios.flags import services as flags
from helios.modules import services as modules
from helios.modules.gate import runs
from helios.modules.rows import find
from helios.stack.children import StackError
from tests.support.live_market import stored_market
from tiers.backtest import report
from tiers.live import replay as live_replay
from tiers.management.commands import replay
from tiers.research import train
from trading.books import write as books
from trading.models import Book

pytestmark = pytest.mark.django_db
BAD_ROW = "ts,open,high,low,close,volume\n2024-01-02,1,2,1,2,5\n2024-01-03,1,2,1,-2,5\n"
STATE = '{"features": [{"name": "a", "enabled": true, "strategies": []}, {"name": "b c", "strategies": []}]}'
STEPS = '[{"kind": "live", "percentage": 50}]'


@pytest.fixture
def world(clean_redis: object, tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A market, two books, a killed flag, and a folder that is the working one and holds var/."""
    settings.VAR_DIR = tmp_path / "var"
    settings.VAR_DIR.mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text(BAD_ROW)
    (tmp_path / "state.json").write_text(STATE)
    stored_market()
    money = {"initial_cash": 1000, "fee_bps": 0, "slippage_bps": 0}
    books.create_book("paper", mode="paper", timeframe="1d", symbols=["AAPL"], **money)
    ended = books.create_book("ended", mode="replay", timeframe="1d", symbols=["AAPL"], **money)
    Book.objects.filter(pk=ended.pk).update(
        active=True, replay_from="1999-01-04T21:00Z", replay_until="1999-01-05T21:00Z"
    )
    flags.kill("websocket_v2", actor="ada")
    modules.register("predict", "examples.modules.predict_tempered")
    return tmp_path


def rows() -> dict[str, Any]:
    """Of each table how many rows it has, and a sum over all that stands in them."""
    names = [name for name in connection.introspection.table_names() if not name.startswith("django_migrations")]
    counted = " UNION ALL ".join(
        f"SELECT '{name}', count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM \"{name}\" t"
        for name in sorted(names)
    )
    with connection.cursor() as cursor:
        cursor.execute(counted)
        return {name: (n, digest) for name, n, digest in cursor.fetchall()}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


REFUSED: list[tuple[str, ...]] = [
    ("replay", "--symbols", "AAPL", "--bars", "5", "--name", "desk"),  # nobody works
    ("replay", "--symbols", "AAPL", "--bars", "5", "--name", "desk", "--workers"),  # they do not start
    ("replay", "--symbols", "AAPL", "--bars", "5", "--name", "paper"),
    ("replay", "--symbols", "AAPL", "--bars", "5", "--name", "No Name", "--continuous"),
    ("replay", "--symbols", "AAPL", "--bars", "5", "--source", "file:gone.csv", "--continuous"),
    ("replay", "--symbols", "AAPL", "--bars", "5", "--cash", "0", "--continuous"),
    ("replay", "--symbols", "AAPL", "--bars", "500", "--continuous"),
    ("replay", "--symbols", "AAPL", "--from", "1.1.2020", "--continuous"),
    ("replay", "--symbols", "AAPL,NOPE", "--continuous"),
    ("replay", "--symbols", "AAPL", "--timeout", "0", "--continuous"),
    ("replay", "--resume", "paper"),
    ("demo_book", "--symbols", "AAPL,NOPE"),
    ("demo_book", "--symbols", "AAPL", "--timeframe", "1h"),
    ("run_cycle", "--book", "gone"),
    ("run_cycle", "--book", "paper"),
    ("run_cycle", "--book", "ended"),
    ("run_cycle", "--book", "paper", "--bar", "2099-01-02T21:00"),
    ("run_cycle", "--book", "paper", "--bar", "noon"),
    ("run_cycle", "--book", "paper", "--timeout", "nan"),
    ("train", "--symbols", "NOPE"),
    ("train", "--symbols", "AAPL"),  # too few bars
    ("train", "--symbols", "AAPL", "--preset", "huge"),
    ("train", "--symbols", "AAPL", "--timerange", "20200101"),
    ("backtest", "--symbols", "AAPL", "--strategy", "luck", "--export", "report.html"),
    ("backtest", "--symbols", "AAPL", "--strategy", "buy_and_hold", "--cash", "much", "--export", "report.html"),
    ("backtest", "--symbols", "AAPL", "--strategy", "buy_and_hold", "--export", "gone/report.html"),
    ("backtest", "--symbols", "AAPL", "--strategy", "sma_cross", "--fast", "50", "--slow", "20", "--export", "r.html"),
    ("import_data",),
    ("import_data", "gone.csv", "--symbol", "NEW", "--timeframe", "1d"),
    ("import_data", "bad.csv", "--symbol", "NEW", "--timeframe", "1d"),
    ("import_data", "bad.csv", "--symbol", "N W", "--timeframe", "1d", "--drop-invalid"),
    ("import_data", "bad.csv", "--symbol", "aapl", "--timeframe", "1d", "--drop-invalid"),
    ("import_data", "bad.csv", "--symbol", "AAPL", "--timeframe", "1d", "--asset-class", "crypto", "--drop-invalid"),
    ("download_data", "--pairs", "N W"),
    ("repair_data", "--timerange", "2026"),
    ("bus", "read", "news"),
    ("stream", "--pairs", "N W"),
    ("stream", "--exchange", "binanse"),
    ("paper_book", "new", "--symbols", "GONE", "--timeframe", "1d"),
    ("paper_book", "new", "--symbols", "AAPL", "--timeframe", "1d", "--cash", "much"),
    ("paper_book", "new", "--symbols", "AAPL", "--timeframe", "1d", "--cash", "-5"),
    ("paper_book", "new", "--symbols", "AAPL", "--timeframe", "1d", "--strategy", "sma_cross", "--params", "fast"),
    ("paper_book", "N W", "--symbols", "AAPL", "--timeframe", "1d"),
    ("cycles", "end"),
    ("cycles", "end", "999999", "--reason", "stuck"),
    ("mode", "halt"),
    ("mode", "halt", "--book", "gone"),
    ("mode", "live", "--book", "paper", "--confirm"),
    ("flags", "enable", "gone"),
    ("flags", "set-percentage", "websocket_v2", "50"),
    ("flags", "set-percentage", "neural_network_v2", "500"),
    ("flags", "schedule", "neural_network_v2", "2027-01-01T00:00Z=5", "2026-01-01T00:00Z=9"),
    ("flags", "ramp", "neural_network_v2", "--start", "2027-01-02T00:00Z", "--end", "2027-01-01T00:00Z"),
    ("flags", "whitelist", "advanced_risk_engine", "add", "AAPL", "MS\nFT"),
    ("flags", "whitelist", "advanced_risk_engine", "remove", "AAPL"),
    ("flags", "restore", "neural_network_v2", "--entry", "999999"),
    ("flags", "archive", "auto_trading"),
    ("flags", "segments", "new", "--constraints", "[{}]"),
    ("flags", "segments", "new", "--remove"),
    ("flags", "import", "state.json"),
    ("flags", "import", "gone.json"),
    ("breakers", "open", "gone"),
    ("breakers", "create", "no name"),
    ("breakers", "create", "mine", "nonsense=1"),
    ("breakers", "configure", "neural_network", "failure_threshold=-1"),
    ("breakers", "delete", "neural_network"),
    ("breakers", "reset"),
    ("modules", "register", "predikt", "tiers.predict"),
    ("modules", "register", "predict", "os"),
    ("modules", "register", "predict", "examples.modules.gone"),
    ("modules", "register", "predict", "examples.modules.predict_brittle", "9.9.9"),
    ("modules", "register", "predict", "examples.modules.predict_brittle", "--needs", "gone=*"),
    ("modules", "activate", "predict"),  # another one is in use
    ("modules", "load", "predict", "9.9.9"),
    ("modules", "swap", "predict", "9.9.9"),
    ("modules", "unload", "predict"),
    ("modules", "rollback", "predict"),
    ("modules", "configure", "predict", "--watch-calls", "-1"),
    ("modules", "test", "predict", "--suite", "gone"),
    ("rollouts", "create", "better", "--target", "predict", "--challenger", "0.9.0-gone"),
    ("rollouts", "create", "better", "--target", "predict", "--challenger", "LABEL", "--start"),  # it is not loaded
    ("rollouts", "create", "better", "--target", "predict", "--challenger", "LABEL", "--steps", STEPS),
    ("rollouts", "create", "better", "--target", "predict", "--challenger", "LABEL", "--book", " "),
    ("rollouts", "start", "gone"),
    ("api_token", "nobody"),
    ("api_token", "no body", "--role", "viewer"),
    ("ensure_admin", "--nonsense"),
    ("roles", "--nonsense"),
    ("features", "--nonsense"),
    ("sentinel", "nonsense"),
    ("list_data", "--nonsense"),
]


def run(words: tuple[str, ...]) -> None:
    label = find("predict").versions.order_by("-id").first().label
    call_command(*(label if word == "LABEL" else word for word in words), stdout=io.StringIO(), stderr=io.StringIO())


@pytest.fixture
def _no_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that cannot start; a test elsewhere has real ones that cannot."""

    def cannot(*_args: object, **_options: object) -> Iterator[None]:
        raise StackError("The worker worker did not start")

    monkeypatch.setattr(replay, "running_workers", cannot)
    monkeypatch.setattr(live_replay, "WORKERS_WITHIN_S", 0.05)


@pytest.mark.usefixtures("_no_stack")
@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_refused_command_leaves_nothing_behind(world: Path, words: tuple[str, ...]) -> None:
    before = rows(), files(world)
    with pytest.raises(CommandError):
        run(words)
    after = rows(), files(world)
    assert after[1] == before[1]
    assert {name: after[0][name] for name in after[0] if after[0][name] != before[0][name]} == {}


def test_every_command_of_ours_is_among_them() -> None:
    ours = {
        name for name, app in get_commands().items() if app.split(".")[0] in {"helios", "trading", "tiers", "sentinel"}
    }
    assert {words[0] for words in REFUSED} == ours


def test_a_report_that_is_interrupted_leaves_no_part_of_it(world: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(report.os, "replace", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(("backtest", "--symbols", "AAPL", "--strategy", "buy_and_hold", "--export", "report.html"))
    assert [path.name for path in world.iterdir() if "report" in path.name] == []


def test_a_module_whose_load_is_interrupted_is_as_it_was(world: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(runs, "passes", _interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(("modules", "load", "predict"))
    assert find("predict").versions.order_by("-id").first().state == "UNLOADED"


def test_a_model_whose_registration_is_interrupted_leaves_no_folder(world: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(train, "MIN_BARS", 60)
    monkeypatch.setattr(train.registry, "register_model", _interrupted)
    monkeypatch.setattr(train, "train", _untrained)
    monkeypatch.setattr(train.artefact, "save", lambda folder, *_: folder.mkdir(parents=True))
    monkeypatch.setattr(train.artefact, "weights_bytes", lambda _: b"")

    class Card:
        to_json = dict

    monkeypatch.setattr(train, "_card", lambda *_: Card())
    with pytest.raises(KeyboardInterrupt):
        run(("train", "--symbols", "AAPL"))
    assert list((world / "var" / "models").iterdir()) == []


def _untrained(*_args: object, **_options: object) -> Any:
    class Trained:
        class model:  # noqa: N801
            weights = None

    return Trained


def _interrupted(*_args: object, **_options: object) -> Any:
    raise KeyboardInterrupt
