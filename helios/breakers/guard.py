"""The ways to put a call behind a breaker: `with`, `async with`, a decorator, `call` and `acall`."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Awaitable, Callable
from time import perf_counter
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from loguru import logger

from helios.breakers import process
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.core.machine import Outcome, Permit
from helios.breakers.errors import CircuitOpen
from helios.control.generations import Generation
from helios.errors import Rejected, error_text
from helios.liveness import told_to_end

P = ParamSpec("P")
T = TypeVar("T")
Ignore = tuple[type[BaseException], ...] | Callable[[Exception], bool]

IGNORED: tuple[type[BaseException], ...] = (Rejected,)  # the dependency answered; the request was at fault
NOT_TIMED = -1.0
_LAZY = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))
_SLOW = {Outcome.SUCCESS: Outcome.SLOW_SUCCESS, Outcome.FAILURE: Outcome.SLOW_FAILURE}


class LazyResultError(TypeError):
    """The guarded function has returned before it did its work; that cannot be guarded in this way."""


_OWN_END = (CircuitOpen, LazyResultError, asyncio.CancelledError, GeneratorExit)  # none is a word of the dependency


class Breaker:
    """One use of a breaker: make one for every `with`; one to `call` through or decorate with may be kept.

    Whatever is raised counts as a failure, what is no `Exception` (a library's `SystemExit`, a panic) included, except
    what `ignore` names, the refusals of other breakers, and the caller's own end (a cancelled task, a closed
    generator, a signal to the process): these give a probe's permit back and count for nothing. Put time-outs inside
    the breaker, or a hanging dependency looks like a cancelled task.

    `ignore` is a tuple of exception types or a predicate. `record_if` is a predicate over the other errors: where
    it answers False the dependency did its part, and the call counts as a success. A predicate that raises counts
    the call as a failure. Where the breaker's `slow_call_s` is set, calls that took longer count as slow.
    """

    __slots__ = ("_began", "_circuit", "_permit", "ignore", "name", "record_if", "reducing")

    _circuit: ProcessCircuit  # set on entering

    def __init__(
        self,
        name: str,
        ignore: Ignore = IGNORED,
        *,
        record_if: Callable[[Exception], bool] | None = None,
        reducing: bool = False,
    ) -> None:
        self.name = name
        self.ignore = ignore
        self.record_if = record_if
        self.reducing = reducing
        self._permit: Permit | None = None

    def __enter__(self) -> None:
        self._circuit = circuit = self._entering()
        self._permit = circuit.acquire(self.reducing)
        if circuit.slow_call_s:
            self._began = perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        circuit, permit = self._leaving()
        if error is None and not circuit.slow_call_s:
            circuit.succeeded(permit)
        else:
            circuit.record(permit, self._outcome(error))

    async def __aenter__(self) -> None:
        self._circuit = circuit = self._entering()
        self._permit = circuit.passing()
        if self._permit is None:  # asking Redis may take a moment that the event loop must not lose
            self._permit = await _aacquire(circuit, self.reducing)
        if circuit.slow_call_s:
            self._began = perf_counter()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        circuit, permit = self._leaving()
        outcome = self._outcome(error)
        if permit.token or outcome not in (Outcome.SUCCESS, Outcome.IGNORED):
            tell = contextvars.copy_context().run
            telling = asyncio.get_running_loop().run_in_executor(None, tell, circuit.record, permit, outcome)
            await asyncio.shield(telling)  # a task that is cancelled here has still made its call
        else:
            circuit.record(permit, outcome)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Every call of the decorated function (a coroutine function too) goes through the breaker.

        Raises `TypeError` for a generator function: its work is done while it is iterated over.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise LazyResultError(_lazy(self.name, function))
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, T]", self._decorate_async(function))

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._again(None):
                return self._whole(function(*args, **kwargs), function)

        return guarded

    def call(
        self,
        function: Callable[..., T],
        /,
        *args: Any,
        fallback: Callable[[Exception], T] | None = None,
        reducing: bool | None = None,
        **kwargs: Any,
    ) -> T:
        """`function(*args, **kwargs)` behind the breaker.

        `fallback` is called with the error when the call is refused or fails, not for ignored errors; it runs
        outside the breaker, so its own errors go to the caller and count for nothing.
        `reducing` marks a call that only shrinks a position: it always passes a breaker on the order path.
        """
        try:
            with self._again(reducing):
                result = function(*args, **kwargs)
                return result if type(result) not in _LAZY else self._whole(result, function)
        except Exception as error:
            if fallback is None or self._passed_on(error):
                raise
            return fallback(error)

    async def acall(
        self,
        function: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        fallback: Callable[[Exception], T | Awaitable[T]] | None = None,
        reducing: bool | None = None,
        **kwargs: Any,
    ) -> T:
        """The same for a coroutine function; `fallback` may be one too."""
        try:
            async with self._again(reducing):
                return await _awaitable(self.name, function(*args, **kwargs), function)
        except Exception as error:
            if fallback is None or self._passed_on(error):
                raise
            answer = fallback(error)
            return await answer if inspect.isawaitable(answer) else answer

    def _decorate_async(self, function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        @functools.wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> T:
            async with self._again(None):
                return await function(*args, **kwargs)

        return guarded

    def _again(self, reducing: bool | None) -> Breaker:
        reducing = self.reducing if reducing is None else reducing
        return Breaker(self.name, self.ignore, record_if=self.record_if, reducing=reducing)

    def _entering(self) -> ProcessCircuit:
        if self._permit is not None:
            raise RuntimeError(f"this use of breaker {self.name} has been entered already; call breaker() for each use")
        self._began = NOT_TIMED
        current = process.current()
        return current.circuits.get(self.name) or current.circuit(self.name)

    def _leaving(self) -> tuple[ProcessCircuit, Permit]:
        permit = self._permit
        if permit is None:
            raise RuntimeError(f"breaker {self.name} was left without having been entered")
        self._permit = None
        return self._circuit, permit

    def _whole(self, result: T, function: Callable[..., Any]) -> T:
        """The result, unless it is work that has yet to be done."""
        if type(result) not in _LAZY:
            return result
        if isinstance(result, (CoroutineType, GeneratorType)):
            result.close()
        raise LazyResultError(_lazy(self.name, function))

    def _outcome(self, error: BaseException | None) -> Outcome:
        limit = self._circuit.slow_call_s
        slow = limit and self._began is not NOT_TIMED and perf_counter() - self._began > limit
        outcome = Outcome.SUCCESS if error is None else self._judged(error)
        return _SLOW.get(outcome, outcome) if slow else outcome

    def _judged(self, error: BaseException) -> Outcome:
        if issubclass(type(error), _OWN_END):
            return Outcome.IGNORED
        if not issubclass(type(error), Exception):
            return Outcome.IGNORED if told_to_end(error) else Outcome.FAILURE
        try:
            known = cast("Exception", error)
            if self._ignored(known):
                return Outcome.IGNORED
            return Outcome.FAILURE if self.record_if is None or self.record_if(known) else Outcome.SUCCESS
        except BaseException as broken:  # noqa: BLE001 - the caller's error must not be replaced by its judge's
            logger.bind(circuit=self.name, error=error_text(broken)).error("circuit.predicate_failed")
            return Outcome.FAILURE

    def _ignored(self, error: Exception) -> bool:
        return issubclass(type(error), self.ignore) if isinstance(self.ignore, tuple) else self.ignore(error)

    def _passed_on(self, error: Exception) -> bool:
        """Whether the caller is to see the error even though there is a fallback."""
        try:
            return issubclass(type(error), LazyResultError) or self._ignored(error)
        except BaseException:  # noqa: BLE001 - reported when the call was judged
            return False


class _Asking:
    """`acquire` in a thread for a task that may be cancelled meanwhile: what nobody takes is given back."""

    def __init__(self, circuit: ProcessCircuit, reducing: bool) -> None:
        self._circuit = circuit
        self._reducing = reducing
        self._lock = threading.Lock()
        self._granted: Permit | None = None
        self._abandoned = False

    def ask(self) -> Permit:
        permit = self._circuit.acquire(self._reducing)
        with self._lock:
            self._granted, abandoned = permit, self._abandoned
        if abandoned:
            self._circuit.record(permit, Outcome.IGNORED)
        return permit

    def abandon(self) -> None:
        with self._lock:
            self._abandoned, granted = True, self._granted
        if granted is not None and granted.token:  # not through the event loop, which may be closing
            threading.Thread(target=self._circuit.record, args=(granted, Outcome.IGNORED)).start()


async def _aacquire(circuit: ProcessCircuit, reducing: bool) -> Permit:
    asking = _Asking(circuit, reducing)
    try:
        return await asyncio.to_thread(asking.ask)
    except BaseException:  # a cancelled task, an interrupt
        asking.abandon()
        raise


def _awaitable(name: str, result: object, function: Callable[..., Awaitable[T]]) -> Awaitable[T]:
    if inspect.isawaitable(result):
        return result
    what = "is an asynchronous generator" if isinstance(result, AsyncGeneratorType) else "did not return an awaitable"
    raise LazyResultError(f"acall of breaker {name} takes a coroutine function, but {_name(function)} {what}")


def _lazy(name: str, function: Callable[..., Any]) -> str:
    return (
        f"breaker {name} cannot guard {_name(function)}: it returns a generator or a coroutine, whose work is done "
        f"after it returned; put `with breaker({name!r})` (or `async with`) around the work, or use acall"
    )


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", repr(function)))


def breaker(
    name: str,
    *,
    ignore: Ignore = IGNORED,
    record_if: Callable[[Exception], bool] | None = None,
    reducing: bool = False,
) -> Breaker:
    """The breaker `name`, as a context manager, a decorator, or an object to `call` through.

    A refused call raises `CircuitOpen`; a name that is not configured raises `UnknownBreaker` when first
    used. `ignore` replaces the errors that do not count (default: `helios.errors.Rejected`); `record_if` tells
    which of the others are failures; `reducing` marks calls that only shrink a position, which always pass a
    breaker on the order path.
    """
    return Breaker(name, ignore, record_if=record_if, reducing=reducing)


def refresh_if_behind(seen: Generation | None = None) -> None:
    """Take over settings that changed elsewhere; tasks call it at their start, outside a transaction.

    `seen`: the generation of the breakers, where the caller has just asked for it; without it Redis is asked.
    """
    process.current().refresh(seen)
