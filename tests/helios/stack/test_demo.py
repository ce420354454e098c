"""The demo's order of work, its short cuts, and how it ends when a part fails."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.console import Console

from helios.env import Env
from helios.stack import demo, sample_bars, training
from helios.stack.children import StackError
from helios.stack.steps import Step, Steps

ANSWERS: dict[str, Any] = {
    "import_data": {"series": []},
    "train": {"name": "compact-1", "trained_to": "2009-04-07T20:00:00+00:00"},
    "backtest": {"n_bars": 10},
    "replay": {"book": "replay-1"},
    "sentinel": {"verdict": "OK", "findings": []},
}


class Recorder:
    """Stands where commands and workers would run; remembers what was asked for, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = dict(ANSWERS)
        self.answering: set[str] = set()
        self.ticks = 0

    def run(self, steps: Steps, step: Step, *, idle: Callable[[], object] = lambda: None) -> Any:
        self.asked.append(" ".join(step.words))
        idle()
        steps.note(step.title, 0.1)
        answer = self.answers.get(step.words[0])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def for_steps(self) -> Callable[..., Any]:
        """`run` as a method of Steps: a bound one would not be given the steps."""

        def run(steps: Steps, step: Step, **more: Any) -> Any:
            return self.run(steps, step, **more)

        return run

    @contextlib.contextmanager
    def workers(self, _env: Env, *, beside: Any, **_: Any) -> Iterator[Recorder]:
        self.asked.append("workers up, with " + ", ".join(spec.name for spec in beside))
        yield self
        self.asked.append("workers down")

    def await_workers(self, runner: Recorder, _env: Env) -> None:
        assert runner is self
        self.asked.append("ready")

    def tick(self) -> None:
        self.ticks += 1


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()
    monkeypatch.setattr(Steps, "run", made.for_steps())
    monkeypatch.setattr(demo, "started_workers", made.workers)
    monkeypatch.setattr(demo, "await_workers", made.await_workers)
    monkeypatch.setattr(sample_bars, "recall", lambda _: None)
    monkeypatch.setattr(sample_bars, "remember", lambda *_: None)
    monkeypatch.setattr(demo, "answering", lambda _: made.answering)
    monkeypatch.setattr(training, "recall", lambda _: None)
    monkeypatch.setattr(training, "remember", lambda *_: None)
    monkeypatch.setattr(training, "exists", lambda *_: True)
    return made


@pytest.fixture
def env(make_env: Callable[..., Env]) -> Env:
    return make_env(database_url="postgresql://h/x", redis_url="redis://h")


def words(recorder: Recorder) -> list[str]:
    return [asked.split()[0] for asked in recorder.asked]


def test_everything_happens_in_order(recorder: Recorder, env: Env) -> None:
    outcome = demo.run(env, Console(file=io.StringIO()))
    assert words(recorder) == [
        *("migrate", "import_data", "train", "backtest", "workers", "ready", "replay", "sentinel"),
        "workers",
    ]
    assert "--bars 60" in recorder.asked[6]
    assert str(outcome.report) in recorder.asked[3]
    assert recorder.asked[4] == "workers up, with beat"
    assert recorder.ticks >= 2, "a worker that dies beside the replay or the audit must come back"
    assert outcome.report.parent.is_dir()
    assert outcome.training == ANSWERS["train"]


def test_the_backtest_begins_after_the_last_bar_the_model_has_seen(recorder: Recorder, env: Env) -> None:
    demo.run(env, Console(file=io.StringIO()))
    unseen = [asked for asked in recorder.asked if "--timerange 20090408-" in asked]
    assert unseen == [asked for asked in recorder.asked if asked.startswith("backtest")]
    recorder.answers["train"] = {"name": "of unknown age"}
    recorder.asked.clear()
    demo.run(env, Console(file=io.StringIO()))
    assert not any("--timerange" in asked for asked in recorder.asked)


def test_training_is_skipped_when_the_model_is_there(
    recorder: Recorder, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "recall", lambda _: {"name": "kept"})
    outcome = demo.run(env, Console(file=io.StringIO()))
    assert "train" not in words(recorder)
    assert outcome.training == {"name": "kept"}
    assert words(recorder)[2:5] == ["workers", "backtest", "ready"], "with all compiled, workers start at once"
    assert outcome.backtest == ANSWERS["backtest"]


def test_nothing_is_loaded_when_the_sample_is_there_unchanged(
    recorder: Recorder, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_bars, "recall", lambda _: {"series": ["kept"]})
    outcome = demo.run(env, Console(file=io.StringIO()))
    assert "import_data" not in words(recorder)
    assert outcome.data == {"series": ["kept"]}


def test_the_workers_of_a_running_stack_are_used(recorder: Recorder, env: Env) -> None:
    recorder.answering = {"worker", "gpu", "maintenance"}
    demo.run(env, Console(file=io.StringIO()))
    assert words(recorder)[-2:] == ["replay", "sentinel"]
    assert "workers" not in words(recorder)


def test_the_audit_waits_for_the_first_heartbeat(recorder: Recorder, env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter([False, False, True])
    monkeypatch.setattr(training, "exists", lambda *_: next(seen))
    demo.run(env, Console(file=io.StringIO()))
    assert next(seen, None) is None
    monkeypatch.setattr(demo, "BEAT_WITHIN_S", 0.0)
    monkeypatch.setattr(training, "exists", lambda *_: False)
    demo.run(env, Console(file=io.StringIO()))
    assert words(recorder)[-2] == "sentinel"


@pytest.fixture
def main(recorder: Recorder, env: Env, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    monkeypatch.setattr(demo, "load_env", lambda: env)
    monkeypatch.setattr(demo.children, "leave_on_sigterm", lambda: None)
    return demo.main


def test_a_good_run_ends_with_zero_and_the_page(
    main: Callable[[], int], capsys: pytest.CaptureFixture[str], env: Env
) -> None:
    assert main() == 0
    text = capsys.readouterr().out
    assert "Sentinel: OK" in text
    assert "demo.html" in text.replace("\n", "")


def test_a_failing_step_ends_with_its_sentence(
    main: Callable[[], int], recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.answers["train"] = StackError("Train the compact model failed: no data [x]")
    assert main() == 1
    captured = capsys.readouterr()
    assert captured.err == "Train the compact model failed: no data [x]\n"
    assert "Sentinel" not in captured.out
    assert words(recorder)[-1] == "train"


def test_a_critical_verdict_ends_with_a_sentence_after_the_page(
    main: Callable[[], int], recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    recorder.answers["sentinel"] = {"verdict": "CRITICAL", "findings": []}
    assert main() == 1
    captured = capsys.readouterr()
    assert "Sentinel: CRITICAL" in captured.out
    assert captured.err == "The sentinel found a critical problem, see above\n"


def test_ctrl_c_ends_with_130(main: Callable[[], int], recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Steps, "run", interrupted)
    assert main() == 130
