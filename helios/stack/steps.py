"""One `manage.py` command after the other, with progress, a log each, and a clear sentence when one fails."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from helios.console import Console
from helios.log_files import opened
from helios.logs import redact
from helios.stack import children
from helios.stack.children import StackError
from helios.stack.processes import WORKING_DIRECTORY

END_TIMEOUT_S = 10.0
_COUNTED = re.compile(r"(\d{1,12})(?: of |/)(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Step:
    """A title for people and the words after `manage.py`; with `--json` among them the output is parsed."""

    title: str
    words: Sequence[str]
    fine: tuple[int, ...] = (0,)  # exit statuses that are an answer, not a failure


MIGRATE = Step("Apply migrations", ["migrate", "--noinput", "-v", "0"])
LOAD = Step("Load the sample data", ["import_data", "--sample", "--json"])
TRAIN = Step("Train the compact model", ["train", "--preset", "compact", "--json"])


@dataclass(slots=True)
class Steps:
    """Runs steps and remembers how long each took."""

    console: Console
    log_dir: Path
    prefix: str
    timings: list[tuple[str, float]] = field(default_factory=list)

    def run(self, step: Step, *, idle: Callable[[], object] = lambda: None) -> Any:
        """Run a step to its end, calling `idle` a few times a second; returns its parsed JSON, or None.

        Raises: StackError with the step's own last words and the end of its log.
        """
        started = time.monotonic()
        log = self.log_dir / f"{self.prefix}-{re.sub(r'[^a-z0-9]+', '-', step.title.lower())}.log"
        said: list[str] = []
        kept = os.fdopen(opened(log, os.O_TRUNC), "w", encoding="utf-8", buffering=1)
        with kept, _Display(self.console, step.title) as display:

            def tell(line: str) -> None:
                shown = redact(line)
                kept.write(f"{shown}\n")
                display.say(shown.strip())

            words = [sys.executable, "manage.py", *step.words]
            process, readers = children.piped(words, cwd=WORKING_DIRECTORY, out=said.append, err=tell)
            try:
                while process.poll() is None:
                    idle()
                    time.sleep(0.1)
            except BaseException:
                children.end(process.pid, first=signal.SIGINT, timeout_s=END_TIMEOUT_S)
                raise
            finally:
                status = process.wait()
                for reader in readers:
                    reader.join()
        output = "\n".join(said)
        if status not in step.fine or (status != 0 and not output.strip()):
            raise StackError(_failure(step.title, status, log))
        self.note(step.title, time.monotonic() - started)
        return _parsed(step, output) if "--json" in step.words else None

    def note(self, title: str, elapsed_s: float) -> None:
        """Record and show a finished piece of work."""
        self.timings.append((title, elapsed_s))
        self.console.print(Text.assemble(("done", "green"), f" {title} ", (f"{elapsed_s:.1f} s", "dim")))


class _Display(AbstractContextManager["_Display"]):
    """A bar on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._progress: Progress | None = None
        self._task = TaskID(0)
        if console.is_terminal:
            columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
            line = TextColumn("{task.fields[line]}", style="dim", markup=False)
            self._progress = Progress(*columns, line, console=console, transient=True)
            self._task = self._progress.add_task(title, total=None, line="")

    def __enter__(self) -> Self:
        if self._progress is None:
            self._console.print(f"{self._title} ...")
        (self._progress or nullcontext()).__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def say(self, line: str) -> None:
        """Show a command's line; `6 of 60` moves the bar."""
        if not line:
            return
        if self._progress is None:
            self._console.print(f"  {line}", soft_wrap=True)
            return
        counted = _COUNTED.search(line)
        done, total = (int(part) for part in counted.groups()) if counted else (None, None)
        self._progress.update(self._task, line=line[:60], completed=done, total=total)


def _failure(title: str, status: int, log: Path) -> str:
    lines = [line for line in children.tail(log, 400).splitlines() if line.strip()]
    words = lines[-1].removeprefix("CommandError: ") if lines else f"exit status {status}"
    end = "\n".join(lines[-12:-1])
    return f"{title} failed: {words} (log: {log})" + (f"\n{end}" if end else "")


def _parsed(step: Step, output: str) -> Any:
    try:
        return json.loads(output[min(at for at in (output.find("{"), output.find("[")) if at >= 0) :])
    except ValueError:
        raise StackError(f"{step.title} failed: its output must be JSON, was {output[-200:]!r}") from None
