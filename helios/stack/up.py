"""`make up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Self

from rich.table import Table

from helios import terminal
from helios.console import Console
from helios.env import Env
from helios.logs import redact
from helios.stack import children, leases, processes, training
from helios.stack.commandline import python
from helios.stack.environment import load_env
from helios.stack.ports import check_ports, is_free
from helios.stack.processes import ProcessSpec
from helios.stack.runner import Emit, Runner, both, until_signalled
from helios.stack.servers import Lease
from helios.stack.steps import LOAD, MIGRATE, TRAIN, Step, Steps
from helios.stack.workers import log_files

ADMIN = Step("First administrator", ["ensure_admin", "--json"])
SAMPLE = "SELECT 1 FROM market_ohlc WHERE source LIKE 'sample:%' LIMIT 1"
BOOK = Step("Paper book over replayed data", ["demo_book", "--json"])

MOST_WAITING = 1_000  # that wait for a console which takes none
LONGEST_SHOWN = 10_000  # letters of a line; its log has all of it
COLOURS = {
    "web": "cyan",
    "worker": "green",
    "gpu": "magenta",
    "maintenance": "white",
    "beat": "yellow",
    "stream": "bright_cyan",
    "flower": "blue",
}


def main() -> int:
    """Start everything and stay; returns the exit status."""
    children.leave_on_sigterm()
    return children.run_or_explain(lambda: run(load_env(), Console()))


def run(env: Env, console: Console) -> int:
    """Set up, supervise until a signal asks for the end, stop everything; the exit status. Raises: StackError."""
    specs = [quietened(spec, env) for spec in processes.everything(env)]
    check_ports(specs, ours=leases.living(leases.folder_of(env.var_dir)))  # before anything is started
    write, later, shown = log_files(env.var_dir / "logs"), ConsoleQueue(console), coloured(console)

    def emit(name: str, line: str) -> None:
        later(shown, name, line[:LONGEST_SHOWN])

    with later:
        with Lease(env.model_copy(update={"servers_idle_s": 0.0}), emit):  # Ctrl-C ends everything
            admin = set_up(env, Steps(console, env.var_dir / "logs", "up"))
            with until_signalled() as (asked, hurry):
                runner = Runner(specs, both(emit, write), quietly=write)
                try:
                    runner.start()
                    _await_web(env, runner, asked)
                    later(console.print, addresses(env, admin))
                    runner.run(asked)
                    later(console.print, "Stopping; press Ctrl-C again to hurry.")
                finally:
                    runner.stop(hurry)
        later(console.print, "Everything is stopped.")
    return 0


def quietened(spec: ProcessSpec, env: Env) -> ProcessSpec:
    """The process with warnings and a line a cycle on its console; its log file keeps the rest."""
    return replace(spec, env={**spec.env, "HELIOS_CONSOLE_LEVEL": env.console_level or "WARNING"})


def set_up(env: Env, steps: Steps) -> dict[str, str] | None:
    """Bring the database to where a stack can run on it; returns the login that was made, if one was."""
    steps.run(MIGRATE)
    if empty := not training.exists(env, "SELECT 1 FROM market_ohlc LIMIT 1"):
        steps.run(LOAD)
    if empty or training.exists(env, SAMPLE):  # else the bars are a person's, who has books of their own
        if not training.exists(env, "SELECT 1 FROM ml_models WHERE timeframe = '1d' LIMIT 1"):
            training.remember(env, steps.run(TRAIN))
        steps.run(BOOK)
    admin = steps.run(ADMIN)  # last: whoever interrupts what takes minutes has not lost a password that is shown once
    return admin if admin.get("created") else None


def addresses(env: Env, admin: dict[str, str] | None) -> Table:
    """What a person opens next, with the login that was made now, and Flower's, where that is kept."""
    web = f"http://127.0.0.1:{env.web_port}"
    table = Table(title="Helios is running; Ctrl-C stops it", title_justify="left", show_header=False)
    table.add_row("Admin", f"{web}/admin/")
    table.add_row("API documents", f"{web}/docs")
    table.add_row("Health", f"{web}/health/ready")
    table.add_row("Flower", f"http://127.0.0.1:{env.flower_port}")
    table.add_row("Logs", str(env.var_dir / "logs"))
    if admin:
        table.add_row("Login", f"{admin['username']} / {admin['password']}  (shown only this once)")
    else:
        table.add_row("Login", f"of the first start; `{python()} manage.py changepassword admin` sets a new password")
    if env.flower_basic_auth is None:
        login = env.flower_login().replace(":", " / ", 1)
        table.add_row("Login to Flower", f"{login}  (kept in {env.flower_login_path})")
    return table


class ConsoleQueue:
    """Calls what prints, one after the other, in a thread of its own.

    A terminal that is paused takes nothing, and whoever waits for it holds up the processes whose lines they read: of
    more than `MOST_WAITING` the further ones are left out, and counted.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._waiting: queue.Queue[Callable[[], object] | None] = queue.Queue(MOST_WAITING)
        self._n_left_out = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __call__(self, show: Callable[..., object], *given: object) -> None:
        try:
            self._waiting.put_nowait(partial(show, *given))
        except queue.Full:
            self._n_left_out += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self, timeout_s: float = 2.0) -> None:
        """Have the last shown, where the console takes it by then."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        for show in iter(self._waiting.get, None):
            _shown(show)
            if self._waiting.empty():
                self._tell_left_out()
        self._tell_left_out()

    def _tell_left_out(self) -> None:
        if self._n_left_out:
            n, self._n_left_out = self._n_left_out, 0
            told = f"{n:,} lines are left out here, since the console took none; they are in the logs"
            _shown(partial(self._console.print, told))


def _shown(show: Callable[[], object]) -> None:
    with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
        show()


def coloured(console: Console) -> Emit:
    """An `emit` that prints `name | line`, each name in its colour."""
    lock = threading.Lock()
    spare = cycle(["red", "white"])
    colours: dict[str, str] = {}
    width = max(map(len, COLOURS))

    def emit(name: str, line: str) -> None:
        with lock:
            colour = colours.setdefault(name, COLOURS.get(name) or next(spare))
            console.print(f"{name:<{width}} | ", style=colour, end="")
            console.print(redact(line), soft_wrap=True)

    return emit


def _await_web(env: Env, runner: Runner, asked: threading.Event) -> None:
    """Wait until the web process listens, somebody asks for the end, or a minute is over."""

    def there() -> bool:
        runner.tick()
        return asked.is_set() or not is_free(env.web_port)

    children.wait_until(there, timeout_s=60, every_s=0.2)


if __name__ == "__main__":
    terminal.run_and_exit(main)
