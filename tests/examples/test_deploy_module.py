"""The example deploys, against a running stack, and says what it did."""

from __future__ import annotations

import subprocess

import pytest

from examples import deploy_module
from helios.env import Env
from helios.rollouts.core.guards import parse_guards
from helios.stack import processes
from tests.browser.conftest import start_web
from tests.support.harness import Stack


@pytest.fixture
def trading(desk: Stack) -> Stack:
    """A desk that trades: beat, at five times its pace, gives a book a bar a second."""
    desk.environ["DJANGO_SETTINGS_MODULE"] = "tests.support.fast_beat"
    desk.manage("replay", "--bars", "250", "--name", "example", "--continuous")  # a year behind the training
    desk.start_worker([*processes.WORKER_QUEUES, "gpu"])
    desk.start_worker(processes.MAINTENANCE_QUEUES, name="maintenance")
    desk.start(processes.beat())
    done = "SELECT count(*) FROM pipeline_cycles WHERE status = 'DONE'"
    desk.wait_for(lambda: desk.value(done) >= 2, what="the first cycles")
    return desk


def deploy(desk: Stack, url: str, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = ["-m", "examples.deploy_module", "--url", url, "--interval", "0.5", "--samples", "8", *words]
    argv += ["--patience", "1000", "--shares", "100"]  # of half, which symbols it gets decides how it compares
    return desk.run(*argv, env={"HELIOS_API_TOKEN": token, "COLUMNS": "160"})


@pytest.mark.stack
def test_the_example_rolls_a_good_module_out_and_back_and_a_faulty_one_ends_at_its_first_step(trading: Stack) -> None:
    url = start_web(trading)
    token = trading.manage_json("api_token", "example", "--role", "trader")["token"]
    good = deploy(trading, url, token, "--replay")
    assert good.returncode == 0, good.stdout + good.stderr
    for words in ("the gate is passed", "100 % of the symbols", "SUCCEEDED", "rolled back from 1.1.0+"):
        assert words in good.stdout
    faulty = deploy(trading, url, token, "--module", "examples.modules.predict_brittle")
    assert faulty.returncode == 3, faulty.stdout + faulty.stderr
    assert "the gate is passed" in faulty.stdout
    assert "ROLLED_BACK: exceptions" in faulty.stdout
    assert "100 % of the symbols" not in faulty.stdout
    states = {state for (state,) in trading.query("SELECT DISTINCT status FROM pipeline_cycles")}
    assert states <= {"DONE", "RUNNING"}
    active = "SELECT v.version FROM modules m JOIN module_versions v ON v.id = m.active_id WHERE m.name = 'predict'"
    assert trading.value(active) == "1.0.0"


def test_without_a_token_it_says_so_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HELIOS_API_TOKEN", raising=False)
    assert deploy_module.main([]) == 2
    assert "a token must be given" in capsys.readouterr().err


def test_where_nobody_listens_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy_module.main(["--token", "x", "--url", "http://127.0.0.1:9"]) == 2
    assert "http://127.0.0.1:9 must answer, did not" in capsys.readouterr().err


def test_left_out_the_address_is_that_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy_module, "get_env", lambda: Env(_env_file=None, web_port=9))
    assert deploy_module.main(["--token", "x"]) == 2
    assert "http://127.0.0.1:9 must answer, did not" in capsys.readouterr().err


def test_its_defaults_are_kept_to_by_what_a_few_bars_can_tell() -> None:
    options = deploy_module.arguments([])
    guards = parse_guards(deploy_module.WATCHED)
    assert max(guard.min_samples for guard in guards) <= options.samples <= 10
    assert {guard.metric for guard in guards} & {"pnl_deficit_bps", "log_loss_excess"} == set()


def test_a_plan_goes_from_replay_over_shadow_to_all_symbols() -> None:
    steps = deploy_module.plan([1, 100], replay=True, shadow=True, interval_s=5.0, samples=3)
    assert [step["kind"] for step in steps] == ["replay", "shadow", "live", "live"]
    assert [step.get("percentage") for step in steps] == [None, None, 1, 100]
    assert deploy_module.serves(steps, 3) == "100 % of the symbols"


def test_figures_are_short_whatever_their_shape() -> None:
    assert deploy_module.shown(1.23456) == "1.235"
    assert deploy_module.shown([0.5, 1.0]) == "0.5 .. 1"
    assert deploy_module.shown({"low": 0.25}) == "low 0.25"
    assert deploy_module.shown(None) == "-"
