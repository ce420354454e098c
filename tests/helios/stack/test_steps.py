"""A step shows what it does, hands back its JSON, and fails with its own last words."""

from __future__ import annotations

import io
import signal
import threading
from pathlib import Path

import pytest
from rich.console import Console

from helios.stack import children, steps
from helios.stack.children import StackError
from helios.stack.steps import Step, Steps

FAKE_MANAGE = """
import json, signal, sys, time
word = sys.argv[1]
if word == "good":
    for n in (1, 2, 3):
        print(f"replayed {n} of 3 bars", file=sys.stderr, flush=True)
    print(json.dumps({"rows": 3, "words": sys.argv[2:]}))
elif word == "bad":
    print("reading", file=sys.stderr)
    print("CommandError: the symbol must be known, was XYZ", file=sys.stderr)
    sys.exit(1)
elif word == "silent":
    sys.exit(7)
elif word == "prose":
    print("no json here")
elif word == "verdict":
    print(json.dumps({"verdict": "CRITICAL"}))
    sys.exit(1)
elif word == "forever":
    print("up", file=sys.stderr, flush=True)
    signal.pause()
elif word == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("up", file=sys.stderr, flush=True)
    while True:
        signal.pause()
"""


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, highlight=False)


@pytest.fixture
def runs(tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch) -> Steps:
    (tmp_path / "manage.py").write_text(FAKE_MANAGE)
    monkeypatch.setattr(steps, "WORKING_DIRECTORY", tmp_path)
    return Steps(console, tmp_path / "logs", "demo")


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_step_hands_back_its_json_and_its_time(runs: Steps) -> None:
    assert runs.run(Step("Load", ["good", "--json"])) == {"rows": 3, "words": ["--json"]}
    assert [title for title, _ in runs.timings] == ["Load"]
    assert runs.timings[0][1] > 0


def test_a_step_without_json_hands_back_nothing(runs: Steps) -> None:
    assert runs.run(Step("Load", ["good"])) is None


def test_plain_lines_are_shown_where_there_is_no_terminal(runs: Steps, console: Console) -> None:
    runs.run(Step("Load", ["good", "--json"]))
    lines = shown(console).splitlines()
    assert lines[:4] == ["Load ...", "  replayed 1 of 3 bars", "  replayed 2 of 3 bars", "  replayed 3 of 3 bars"]
    assert lines[4].startswith("done Load ")


def test_a_terminal_gets_a_bar_that_follows_the_count(tmp_path: Path, runs: Steps) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=120)
    runs.console = terminal
    runs.run(Step("Load", ["good", "--json"]))
    assert "Load" in shown(terminal)
    display = steps._Display(terminal, "Load")
    with display:
        display.say("replayed 3 of 12 bars")
        display.say("")
        assert display._progress is not None
        task = display._progress.tasks[0]
        assert (task.completed, task.total) == (3, 12)
        display.say("nothing to count")
        assert (task.completed, task.total) == (3, 12)


def test_a_failing_step_is_one_sentence_with_its_own_words(runs: Steps, tmp_path: Path) -> None:
    with pytest.raises(StackError) as caught:
        runs.run(Step("Load the data", ["bad", "--json"]))
    log = tmp_path / "logs" / "demo-load-the-data.log"
    first, *rest = str(caught.value).splitlines()
    assert first == f"Load the data failed: the symbol must be known, was XYZ (log: {log})"
    assert rest == ["reading"]
    assert runs.timings == []


def test_a_step_that_fails_without_a_word_names_its_status(runs: Steps) -> None:
    with pytest.raises(StackError, match="Quiet failed: exit status 7"):
        runs.run(Step("Quiet", ["silent"]))


def test_output_that_is_no_json_is_named(runs: Steps) -> None:
    with pytest.raises(StackError, match="Talk failed: its output must be JSON, was 'no json here"):
        runs.run(Step("Talk", ["prose", "--json"]))


def test_a_status_that_is_an_answer_is_no_failure(runs: Steps) -> None:
    assert runs.run(Step("Audit", ["verdict", "--json"], fine=(0, 1))) == {"verdict": "CRITICAL"}
    with pytest.raises(StackError, match="the symbol must be known"):
        runs.run(Step("Audit", ["bad", "--json"], fine=(0, 1)))


def test_the_caller_gets_its_turn_while_a_step_runs(runs: Steps) -> None:
    turns: list[int] = []
    runs.run(Step("Load", ["good"]), idle=lambda: turns.append(1))
    assert turns


@pytest.mark.parametrize("word", ["forever", "stubborn"])
def test_an_interrupted_step_leaves_no_process(
    runs: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setattr(steps, "END_TIMEOUT_S", 0.3)
    ready = threading.Event()

    def interrupt() -> None:
        log = tmp_path / "logs" / "demo-wait.log"
        if "up" in children.tail(log):
            ready.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.run(Step("Wait", [word]), idle=interrupt)
    assert ready.is_set()
    assert children.processes_in(tmp_path) == []


def test_sigterm_unwinds_like_an_exit() -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        children.leave_on_sigterm()
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.code == 143
    finally:
        signal.signal(signal.SIGTERM, before)
