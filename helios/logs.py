"""Logs: one loguru set-up for every process, a file per component, the standard library's records included.

`configure("worker")` writes to the console and to `var/logs/worker.log`. Fields travel with
`logger.contextualize(cycle=7)` or `logger.bind(...)`. Each finished line is redacted: no sink sees a secret.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import re
import select
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import lru_cache
from typing import Any, TextIO, cast
from urllib.parse import unquote, urlsplit

from loguru import logger
from pydantic import SecretStr

from helios import outage
from helios.env import Env, get_env
from helios.errors import HeliosError, error_text, trace
from helios.log_files import RotatingFile
from helios.redaction import Redactor, printable, redactor, shortened

PIPED_AT_ONCE = 1_000  # letters, of at most 4 bytes: for so much there is room where a pipe takes anything
LONGEST_LINE = 10_000  # letters that wait for the end of a printed line
ALWAYS_SHOWN = frozenset({"cycle.ended"})  # on consoles that are otherwise left to warnings
_RECONNECTS = ("celery.bootsteps", "celery.worker", "celery.beat", "kombu")  # loggers about connections, not tasks
_REFUSED = "django.security."  # loggers about requests that are refused for what they hold
_OF_REFUSED = 200  # letters of a line about one: no rate counts them
_SHORTEST_SECRET = 6  # shorter values would blank ordinary words

_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|TOKEN|API_KEY|PRIVATE_KEY)")


class Printed(io.TextIOBase):
    """A stream each line of which is a log line: for what code prints in a process whose output is its log."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is the one that it stands in for, and takes what is printed while a line is being logged."""
        self._stream, self._line, self._busy = stream, "", threading.local()

    def write(self, text: str) -> int:
        """Log the lines that are finished; the rest waits for its end, so that no secret is taken apart."""
        if getattr(self._busy, "now", False):
            return self._stream.write(text)
        *lines, rest = (self._line + text).split("\n")
        self._line = rest if len(rest) <= LONGEST_LINE else ""
        for each in (*lines, *([] if self._line else [rest])):
            self._log(each)
        return len(text)

    def flush(self) -> None:
        """Log what waits."""
        rest, self._line = self._line, ""
        self._log(rest)

    def fileno(self) -> int:
        """That of the stream behind."""
        return self._stream.fileno()

    def _log(self, line: str) -> None:
        if line.strip():
            self._busy.now = True
            try:
                logger.warning("printed: {}", line.rstrip())
            finally:
                self._busy.now = False


class InterceptHandler(logging.Handler):
    """Hands records of the standard library to loguru, with their own place and level."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on; what libraries say about a server that is away, `outage` says once."""
        raised = record.exc_info
        if _is_outage(record):
            if record.levelno < logging.CRITICAL:
                return
            raised = None  # a process that ends over it says so, in a line
        message = _message(record).rstrip()
        if record.name.startswith(_REFUSED):  # strangers write no traceback, and nothing that is an error of ours
            raised, record.levelname, message = None, "WARNING", shortened(message, _OF_REFUSED)
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = max(0, record.levelno)

        def own_place(fields: Any) -> None:
            fields.update(name=record.name, function=record.funcName, line=record.lineno)

        logger.patch(own_place).opt(exception=raised).log(level, "{}", message)


def now_and_then(n: int) -> bool:
    """Whether the n-th time is told: the first, second, fourth, eighth …, so that a flood fills no disk."""
    return n & (n - 1) == 0


def _message(record: logging.LogRecord) -> str:
    given = tuple(map(_said, record.args)) if isinstance(record.args, tuple) else record.args
    message = str(_said(record.msg))
    try:
        return message % given if given else message
    except BaseException as error:  # noqa: BLE001 - whoever logs goes on, as with the standard library's own handlers
        return f"{message} (its arguments do not fit: {error_text(error)})"


def _said(given: object) -> object:
    """What is logged, an error in words that need nothing of its class."""
    return error_text(cast("BaseException", given)) if issubclass(type(given), BaseException) else given


def _is_outage(record: logging.LogRecord) -> bool:
    """Whether a warning or worse is about a server that is away: by its traceback, or an error among its arguments."""
    if record.levelno < logging.WARNING:
        return False
    given = record.args if isinstance(record.args, tuple) else ()
    errors = (record.exc_info[1] if record.exc_info else None, *given)
    error = next((cast("BaseException", each) for each in errors if issubclass(type(each), BaseException)), None)
    if error is None:
        return False
    during = _message(record).partition("\n")[0][:200]
    return outage.report(error, during=during, clearing_up=record.name.startswith(_RECONNECTS))


def configure(component: str, *, console_level: str | None = None) -> None:
    """Install the sinks of this process: console and `var/logs/<component>.log`. May be called again.

    `console_level` and the setting of this name quieten the console only; the setting leaves it a line a cycle.
    Raises: HeliosError when the file cannot be written.
    """
    env = get_env()
    redact = redactor(secret_values(env, os.environ))
    render = as_json if env.log_format == "json" else as_text
    try:
        file = RotatingFile(env.var_dir / "logs" / f"{component}.log")
    except OSError as error:
        raise HeliosError(f"Helios cannot write its log in {env.var_dir / 'logs'}: {error.strerror}") from error
    logger.remove()
    logger.configure(extra={"component": component}, patcher=_with_trace)
    options: dict[str, Any] = {
        "format": "{message}",
        "backtrace": False,
        "diagnose": False,
    }  # diagnose shows values
    console = _console(sys.stderr)
    shown = logger.level(console_level or env.console_level or env.log_level).no
    always = ALWAYS_SHOWN if console_level is None else frozenset()

    def tell(record: Any) -> None:
        line = redact(render(record))
        try:
            if record["level"].no >= shown or record["message"] in always:
                console(line)
        finally:
            file.write(line)

    lost = itertools.count(1)

    def sink(message: Any) -> None:
        try:
            tell(message.record)
        except Exception as error:  # noqa: BLE001 - loguru would print all of the record, its secrets too
            if now_and_then(n := next(lost)):
                why = redact(printable(error_text(error)))
                console(f"{component} cannot write its log, has lost {n} lines: {why}\n")

    logger.add(sink, level=env.log_level, **options)
    _take_over(env.log_level)


@lru_cache(maxsize=1)
def _own_redactor() -> Redactor:
    return redactor(secret_values(get_env(), os.environ))


def redact(text: str) -> str:
    """The text without this process's secrets, for whatever leaves it by another way than a log."""
    return _own_redactor()(text)


def secret_values(env: Env, environ: Mapping[str, str]) -> set[str]:
    """Every secret of this process: secret settings, passwords in URLs, variables named like secrets."""
    values = {value.get_secret_value() for _, value in env if isinstance(value, SecretStr)}
    values |= {value for name, value in environ.items() if _SECRET_NAME.search(name)}
    if env.flower_basic_auth is not None:
        values |= {login.partition(":")[2] for login in env.flower_basic_auth.get_secret_value().split(",")}
    with contextlib.suppress(HeliosError, OSError):  # a key that cannot be read can be shown by nobody
        values.add(env.resolved_secret_key())
    found = {part for value in values for part in (_passwords(value) if "://" in value else [value])}
    return {value for value in found if len(value) >= _SHORTEST_SECRET}


def _passwords(url: str) -> list[str]:
    """The password of a URL as it is written there and as it is; all of a text that is no URL after all."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return [url]
    return [password, unquote(password)]


def as_text(record: Mapping[str, Any]) -> str:
    """One line for people: time in UTC, level, component, place, message, fields; a traceback follows, indented.

    What others said cannot look like another line: it stays in its own, and is cut where it is long.
    """
    fields = "".join(f" {key}={shortened(value)}" for key, value in record["extra"].items() if key != "component")
    time = record["time"].astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
    component = record["extra"].get("component", "-")
    message = shortened(record["message"])
    line = f"{time} {record['level'].name:<8} {component} {record['name']}: {message}{fields}"
    steps = (f"  {each}" for each in record.get("trace", "").splitlines())
    return "".join(f"{printable(each)}\n" for each in (line, *steps))


def as_json(record: Mapping[str, Any]) -> str:
    """One JSON object per line for machines."""
    entry = {
        "ts": record["time"].astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": record["level"].name,
        "logger": record["name"],
        "message": shortened(record["message"]),
        "pid": record["process"].id,
        **{name: shortened(value) if isinstance(value, str) else value for name, value in record["extra"].items()},
    }
    if found := record.get("trace"):
        entry["exception"] = found
    return json.dumps(entry, default=str) + "\n"


def _with_trace(record: Any) -> None:
    """An error as text, before anybody formats it: its class may be a module's."""
    error, record["exception"] = record["exception"], None
    if error is not None and error.value is not None:
        record["trace"] = trace(error.value)


def _console(stream: TextIO) -> Callable[[str], object]:
    """Write to the console; one that went away (its reader, or its terminal) is no reason to fail.

    One that takes nothing, as of a supervisor or a terminal that is stopped, is none to wait: the file has the line.
    """
    terminal = _terminal(stream)
    end = ""  # of a line that was cut off

    def took(part: str) -> bool:
        nonlocal end
        if terminal is None:
            if not _takes(stream):
                return False
            stream.write(part)
            stream.flush()
        elif os.write(terminal, data := part.encode(errors="replace")) < len(data):
            end = "\n"
            return False
        end = "\n" * (not part.endswith("\n"))
        return True

    def write(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            for begin in range(0, len(line), PIPED_AT_ONCE):
                if not took(end * (begin == 0) + line[begin : begin + PIPED_AT_ONCE]):
                    return

    return write


def _terminal(stream: TextIO) -> int | None:
    """A way of our own to the terminal of a stream, on which nothing waits: with room for a letter it takes a line."""
    with contextlib.suppress(AttributeError, OSError, ValueError):
        return os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    return None


def _takes(stream: TextIO) -> bool:
    """Whether something can be written now: a pipe says so where it has room for 4,096 bytes."""
    try:
        return bool(select.select((), (stream.fileno(),), (), 0)[1])
    except (AttributeError, OSError, ValueError):  # it is no file
        return True


def _take_over(level: str) -> None:
    """Route the standard library's logging through loguru; handlers that print are taken out."""
    root = logging.getLogger()
    known = [item for item in root.manager.loggerDict.values() if isinstance(item, logging.Logger)]
    for each in (root, *known):
        each.handlers = [handler for handler in each.handlers if not _prints(handler)]
        each.propagate = True
    root.addHandler(InterceptHandler())
    root.setLevel(level)
    for noisy in ("httpcore", "httpx", "numba", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("axes").setLevel(logging.ERROR)  # `helios.web.login` says who failed, and from where
    logging.getLogger("flower.inspector").setLevel(logging.ERROR)  # it asks workers that are not up yet, and again
    logging.getLogger("django.request").setLevel(logging.ERROR)  # of 4xx http.request tells the same, at INFO


def _prints(handler: logging.Handler) -> bool:
    """Plain stream handlers and our own; test runners' capturing subclasses stay."""
    module = type(handler).__module__
    return isinstance(handler, logging.StreamHandler | InterceptHandler) and not module.startswith("_pytest")
