"""`make demo`: from nothing to a backtest, a replay through real workers, and one page on what happened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial

from helios import terminal
from helios.console import Console
from helios.env import Env
from helios.stack import children, endpoints, sample_bars, summary, training
from helios.stack.children import StackError
from helios.stack.environment import load_env
from helios.stack.processes import beat, workers
from helios.stack.runner import Runner
from helios.stack.servers import Lease
from helios.stack.steps import LOAD, MIGRATE, TRAIN, Step, Steps
from helios.stack.workers import answering, await_workers, started_workers

SYMBOLS = "AAPL,GOOG,IBM,MSFT"
AUDIT = Step("Audit by the sentinel", ["sentinel", "audit", "--json"], fine=(0, 1))
HEARTBEAT = "SELECT 1 FROM sentinel_heartbeats WHERE name = 'beat' AND ts > now() - interval '1 minute'"
BEAT_WITHIN_S = 30.0  # a clock that never ran sends its first heartbeat after one interval of 15 s


def main() -> int:
    """Run the demo; returns the exit status."""
    children.leave_on_sigterm()
    return children.run_or_explain(_main)


def _main() -> int:
    console = Console()
    outcome = run(load_env(), console)
    summary.show(console, outcome)
    if summary.pick(outcome.audit, "verdict") == "CRITICAL":
        raise StackError("The sentinel found a critical problem, see above")
    return 0


def _note(console: Console, name: str, sentence: str) -> None:
    console.print(f"{name} {sentence}", soft_wrap=True)


def run(env: Env, console: Console) -> summary.Outcome:
    """Every step in order. Raises: StackError with one sentence when one fails; servers stop either way."""
    steps = Steps(console, env.var_dir / "logs", "demo")
    report = env.var_dir / "reports" / "demo.html"
    report.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with Lease(env, partial(_note, console)) as lease:
        steps.note(f"Servers ({', '.join(lease.started) or 'running already'})", time.monotonic() - started)
        steps.run(MIGRATE)
        data = _load(env, steps)
        known = training.recall(env)
        trained = _train(env, steps) if known is None else _kept(steps, known)
        unseen = _unseen(trained)
        helios = partial(steps.run, _backtest(*unseen, "--export", str(report)))
        # The first time it compiles what the workers then load; later they start beside it.
        backtest = helios() if known is None else None
        with _workers(env, steps) as runner:
            if known is not None:
                backtest = helios(idle=_no_tick if runner is None else runner.tick)
            replay, audit = _replay_and_audit(env, steps, runner)
    return summary.Outcome(
        data=data,
        training=trained,
        backtest=backtest,
        replay=replay,
        audit=audit,
        report=report,
        timings=steps.timings,
    )


def _load(env: Env, steps: Steps) -> object:
    known = sample_bars.recall(env)
    if known is not None:
        steps.note("Load the sample data (there already, unchanged)", 0.0)
        return known
    result = steps.run(LOAD)
    sample_bars.remember(env, result)
    return result


def _train(env: Env, steps: Steps) -> object:
    result = steps.run(TRAIN)
    training.remember(env, result)
    return result


def _kept(steps: Steps, known: object) -> object:
    steps.note("Train the compact model (there already, from the same data)", 0.0)
    return known


def _unseen(trained: object) -> list[str]:
    """The backtest's option that leaves out every bar the model was trained on."""
    last = summary.pick(trained, "trained_to")
    if last is None:
        return []
    return ["--timerange", f"{datetime.fromisoformat(last) + timedelta(days=1):%Y%m%d}-"]


def _backtest(*more: str) -> Step:
    return Step("Backtest", ["backtest", "--symbols", SYMBOLS, "--timeframe", "1d", *more, "--json"])


@contextmanager
def _workers(env: Env, steps: Steps) -> Iterator[Runner | None]:
    """Workers of our own, which start beside what comes next, unless a running stack has them already."""
    redis_url = endpoints.configured(env).redis_url
    if {spec.name for spec in workers(env)} <= answering(endpoints.celery_broker(redis_url)):
        yield None
        return
    with started_workers(env, beside=[beat()], say=partial(_note, steps.console)) as runner:
        yield runner


def _no_tick() -> None:
    """Nobody to look after."""


def _replay_and_audit(env: Env, steps: Steps, runner: Runner | None) -> tuple[object, object]:
    """Replay through the workers, and audit while they live."""
    words = ["replay", "--symbols", SYMBOLS, "--timeframe", "1d", "--bars", "60", "--json"]
    replay = Step("Replay 60 bars through the workers", words)
    if runner is None:
        return steps.run(replay), steps.run(AUDIT)
    started = time.monotonic()
    await_workers(runner, env)
    steps.note("Workers and beat, started beside the backtests", time.monotonic() - started)
    done = steps.run(replay, idle=runner.tick)
    while not training.exists(env, HEARTBEAT) and time.monotonic() - started < BEAT_WITHIN_S:
        runner.tick()
        time.sleep(0.2)
    return done, steps.run(AUDIT, idle=runner.tick)


if __name__ == "__main__":
    terminal.run_and_exit(main)
