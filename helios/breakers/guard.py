"""The ways to put a call behind a breaker: `with`, `async with`, a decorator, `call` and `acall`."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from helios.breakers import process
from helios.breakers.circuits import ProcessCircuit
from helios.breakers.core import Outcome, Permit
from helios.breakers.errors import CircuitOpen
from helios.errors import Rejected

P = ParamSpec("P")
T = TypeVar("T")

IGNORED: tuple[type[BaseException], ...] = (Rejected,)  # the dependency answered; the request was at fault


class Breaker:
    """One use of a breaker: make one for every `with`; one to `call` through or decorate with may be kept.

    Every `Exception` counts as a failure except those in `ignore`, the refusals of other breakers, and what
    is no `Exception` (a cancelled task, an interrupt): these give a probe's permit back and count for
    nothing. Put time-outs inside the breaker, or a hanging dependency looks like a cancelled task.
    """

    __slots__ = ("_circuit", "_permit", "ignore", "name", "reducing")

    _circuit: ProcessCircuit  # set on entering

    def __init__(self, name: str, ignore: tuple[type[BaseException], ...] = IGNORED, *, reducing: bool = False) -> None:
        self.name = name
        self.ignore = ignore
        self.reducing = reducing
        self._permit: Permit | None = None

    def __enter__(self) -> None:
        self._circuit = circuit = self._entering()
        self._permit = circuit.acquire(self.reducing)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        circuit, permit = self._leaving()
        if error is None:
            circuit.succeeded(permit)
        else:
            circuit.record(permit, self._outcome(error))

    async def __aenter__(self) -> None:
        self._circuit = circuit = self._entering()
        self._permit = circuit.passing()
        if self._permit is None:  # asking Redis may take a moment that the event loop must not lose
            self._permit = await asyncio.to_thread(circuit.acquire, self.reducing)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        circuit, permit = self._leaving()
        outcome = Outcome.SUCCESS if error is None else self._outcome(error)
        if permit.token or outcome is Outcome.FAILURE:
            await asyncio.to_thread(circuit.record, permit, outcome)
        else:
            circuit.record(permit, outcome)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Every call of the decorated function (a coroutine function too) goes through the breaker."""
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, T]", self._decorate_async(function))

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            with Breaker(self.name, self.ignore, reducing=self.reducing):
                return function(*args, **kwargs)

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

        `fallback` is called with the error when the call is refused or fails, not for ignored errors.
        `reducing` marks a call that only shrinks a position: it always passes a breaker on the order path.
        """
        try:
            with self._again(reducing):
                return function(*args, **kwargs)
        except Exception as error:
            if fallback is None or isinstance(error, self.ignore):
                raise
            return fallback(error)

    async def acall(
        self,
        function: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        fallback: Callable[[Exception], T] | None = None,
        reducing: bool | None = None,
        **kwargs: Any,
    ) -> T:
        """The same for a coroutine function; `fallback` is a plain function."""
        try:
            async with self._again(reducing):
                return await function(*args, **kwargs)
        except Exception as error:
            if fallback is None or isinstance(error, self.ignore):
                raise
            return fallback(error)

    def _decorate_async(self, function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        @functools.wraps(function)
        async def guarded(*args: Any, **kwargs: Any) -> T:
            async with Breaker(self.name, self.ignore, reducing=self.reducing):
                return await function(*args, **kwargs)

        return guarded

    def _again(self, reducing: bool | None) -> Breaker:
        return Breaker(self.name, self.ignore, reducing=self.reducing if reducing is None else reducing)

    def _entering(self) -> ProcessCircuit:
        if self._permit is not None:
            raise RuntimeError(f"this use of breaker {self.name} has been entered already; call breaker() for each use")
        current = process.current()
        return current.circuits.get(self.name) or current.circuit(self.name)

    def _leaving(self) -> tuple[ProcessCircuit, Permit]:
        permit = self._permit
        if permit is None:
            raise RuntimeError(f"breaker {self.name} was left without having been entered")
        self._permit = None
        return self._circuit, permit

    def _outcome(self, error: BaseException) -> Outcome:
        ignored = isinstance(error, (CircuitOpen, *self.ignore)) or not isinstance(error, Exception)
        return Outcome.IGNORED if ignored else Outcome.FAILURE


def breaker(name: str, *, ignore: tuple[type[BaseException], ...] = IGNORED, reducing: bool = False) -> Breaker:
    """The breaker `name`, as a context manager, a decorator, or an object to `call` through.

    A refused call raises `CircuitOpen`; a name that is not configured raises `UnknownBreaker` when first
    used. `ignore` replaces the errors that do not count (default: `helios.errors.Rejected`); `reducing`
    marks calls that only shrink a position, which always pass a breaker on the order path.
    """
    return Breaker(name, ignore, reducing=reducing)


def refresh_if_behind() -> None:
    """Take over settings that changed elsewhere; tasks call it at their start, outside a transaction."""
    process.current().refresh()
