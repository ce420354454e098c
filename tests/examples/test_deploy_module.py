"""The example deploys, against a running stack, and says what it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples import deploy_module
from tests.browser.conftest import start_web
from tests.harness import ROOT, Stack


@contextmanager
def cycles(desk: Stack, book: str) -> Iterator[None]:
    """A long replay beside the test."""
    desk.start_manage("replay", "replay", "--bars", "2000", "--name", book)
    try:
        done = "SELECT count(*) FROM pipeline_cycles WHERE status = 'DONE'"
        desk.wait_for(lambda: desk.value(done) >= 2, timeout_s=90, what="the first cycles")
        yield
    finally:
        desk.end("replay")


def deploy(url: str, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "examples.deploy_module", "--url", url, "--interval", "1", "--samples", "8", *words]
    argv += ["--patience", "60", "--shares", "50,100"]
    environment = {**os.environ, "HELIOS_API_TOKEN": token, "COLUMNS": "160"}
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


@pytest.mark.stack
def test_the_example_rolls_a_good_module_out_and_back_and_a_faulty_one_ends_at_its_first_step(desk: Stack) -> None:
    desk.start_workers()
    url = start_web(desk)
    desk.start(_beat())
    token = json.loads(desk.manage("api_token", "example", "--role", "trader", "--json").stdout)["token"]
    with cycles(desk, "example"):
        good = deploy(url, token)
        assert good.returncode == 0, good.stdout + good.stderr
        for words in ("the gate is passed", "100 % of the symbols", "SUCCEEDED", "rolled back from 1.1.0+"):
            assert words in good.stdout
        faulty = deploy(url, token, "--module", "examples.modules.predict_brittle")
    assert faulty.returncode == 3, faulty.stdout + faulty.stderr
    assert "the gate is passed" in faulty.stdout
    assert "ROLLED_BACK: exceptions" in faulty.stdout
    assert "50 % of the symbols" not in faulty.stdout
    states = {state for (state,) in desk.query("SELECT DISTINCT status FROM pipeline_cycles")}
    assert states <= {"DONE", "RUNNING"}
    assert (
        desk.value(
            "SELECT v.version FROM modules m JOIN module_versions v ON v.id = m.active_id WHERE m.name = 'predict'"
        )
        == "1.0.0"
    )


def _beat() -> object:
    from helios.stack.processes import beat

    return beat()


def test_without_a_token_it_says_so_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HELIOS_API_TOKEN", raising=False)
    assert deploy_module.main([]) == 2
    assert "a token must be given" in capsys.readouterr().err


def test_where_nobody_listens_it_says_so_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy_module.main(["--token", "x", "--url", "http://127.0.0.1:9"]) == 2
    assert "http://127.0.0.1:9 must answer, did not" in capsys.readouterr().err


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
