"""Coroutines behind a breaker, functions that return before they work, and slow calls."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from helios.breakers import CircuitOpen, breaker, process
from helios.breakers.catalog import SHIPPED
from helios.errors import Rejected
from tests.support.vendors import VendorError, abroken, half_open, window

pytestmark = pytest.mark.usefixtures("clean_redis")

FAILURES = SHIPPED["llm_api"].config.failure_threshold


def test_coroutines_are_guarded_in_the_same_ways():
    async def story() -> list[str]:
        @breaker("llm_api")
        async def ask() -> str:
            return "fine"

        answers = [await ask(), await breaker("llm_api").acall(ask), await ask()]
        for _ in range(FAILURES):
            with pytest.raises(VendorError):
                await breaker("llm_api").acall(abroken)
        with pytest.raises(CircuitOpen):
            async with breaker("llm_api"):
                pytest.fail("the call was made")
        answers.append(await breaker("llm_api").acall(abroken, fallback=lambda error: type(error).__name__))
        return answers

    assert asyncio.run(story()) == ["fine", "fine", "fine", "CircuitOpen"]


def test_a_coroutines_rejection_passes_its_fallback():
    async def arefuse() -> str:
        raise Rejected("no")

    with pytest.raises(Rejected):
        asyncio.run(breaker("llm_api").acall(arefuse, fallback=lambda _: "never"))


def test_a_cancelled_coroutine_is_no_failure():
    async def story() -> None:
        entered = asyncio.Event()

        async def wait_for_ever() -> None:
            async with breaker("llm_api"):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(wait_for_ever())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert window() == ""


def test_the_fallback_of_a_coroutine_may_be_one_too():
    async def rules(error: Exception) -> str:
        await asyncio.sleep(0)
        return type(error).__name__

    assert asyncio.run(breaker("llm_api").acall(abroken, fallback=rules)) == "VendorError"


def test_a_cancelled_probe_gives_its_permit_back(clean_redis):
    half_open(clean_redis)

    async def story() -> str:
        began = asyncio.Event()

        async def hang() -> None:
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(breaker("llm_api").acall(hang))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await breaker("llm_api").acall(asyncio.sleep, 0, "fine")

    assert asyncio.run(story()) == "fine"


def test_a_task_that_is_cancelled_while_it_asks_gives_back_what_it_is_still_granted(clean_redis):
    half_open(clean_redis)
    asked, answer = threading.Event(), threading.Event()
    circuit = process.current().circuit("llm_api")
    acquire = circuit.acquire

    def slowly(reducing: bool = False):
        asked.set()
        answer.wait(10)
        return acquire(reducing)

    async def story() -> None:
        circuit.acquire = slowly
        task = asyncio.create_task(breaker("llm_api").acall(asyncio.sleep, 0))
        await asyncio.to_thread(asked.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        circuit.acquire = acquire
        answer.set()

    asyncio.run(story())  # waits for the threads it has started
    deadline = time.monotonic() + 10
    while process.current().store.peek("llm_api", circuit.settings.config).probes and time.monotonic() < deadline:
        time.sleep(0.01)
    assert breaker("llm_api").call(str, 1) == "1"


def test_concurrent_coroutines_share_one_breaker_object():
    guarded = breaker("llm_api")

    async def story() -> list[int]:
        return await asyncio.gather(*(guarded.acall(asyncio.sleep, 0, number) for number in range(20)))

    assert asyncio.run(story()) == list(range(20))
    process.current().share()
    assert window() == "S" * SHIPPED["llm_api"].config.window_calls


# --- functions whose work is done after they returned ---


def numbers():
    yield 1


async def anumbers():
    yield 1


@pytest.mark.parametrize("function", [numbers, anumbers])
def test_a_generator_function_cannot_be_decorated(function):
    with pytest.raises(TypeError, match=r"breaker llm_api cannot guard a?numbers: it returns a generator"):
        breaker("llm_api")(function)


@pytest.mark.parametrize("function", [numbers, anumbers, abroken, functools.partial(abroken)])
def test_a_call_that_returns_unfinished_work_is_refused_and_counts_for_nothing(function):
    with pytest.raises(TypeError, match="breaker llm_api cannot guard"):
        breaker("llm_api").call(function, fallback=lambda _: "never")
    process.current().share()
    assert window() == ""


def test_a_decorated_function_that_turns_out_to_return_unfinished_work_is_refused():
    guarded = breaker("llm_api")(type("Source", (), {"__call__": lambda self: numbers()})())
    with pytest.raises(TypeError, match="put `with breaker"):
        guarded()


@pytest.mark.parametrize(
    ("function", "said"), [(anumbers, "is an asynchronous generator"), (str, "did not return an awaitable")]
)
def test_acall_takes_coroutine_functions_only(function, said: str):
    with pytest.raises(TypeError, match=f"acall of breaker llm_api takes a coroutine function, but .* {said}"):
        asyncio.run(breaker("llm_api").acall(function, fallback=lambda _: "never"))


def test_a_generator_can_be_guarded_where_it_works():
    def guarded():
        with breaker("llm_api"):
            yield 1
            raise VendorError

    with pytest.raises(VendorError):
        list(guarded())
    assert window() == "F"


# --- slow calls ---


@pytest.fixture
def slow_limit(monkeypatch) -> list[float]:
    """Calls of llm_api are slow from one second; the test says how long each took."""
    circuit = process.current().circuit("llm_api")
    config = replace(circuit.settings.config, slow_call_s=1.0, slow_call_rate=0.5)
    circuit.configure(replace(circuit.settings, config=config))
    clock = [0.0]
    monkeypatch.setattr("helios.breakers.guard.perf_counter", lambda: clock[0])
    return clock


def test_calls_that_take_too_long_count_as_slow_whether_they_succeed_or_fail(slow_limit):
    def take(seconds: float, error: type[Exception] | None = None) -> None:
        slow_limit[0] += seconds
        if error is not None:
            raise error

    breaker("llm_api").call(take, 1.0)  # as long as allowed
    breaker("llm_api").call(take, 1.5)
    with pytest.raises(VendorError):
        breaker("llm_api").call(take, 1.5, VendorError)
    with pytest.raises(Rejected):
        breaker("llm_api").call(take, 9.0, Rejected)
    assert window() == "Ssf"


def test_coroutines_that_take_too_long_count_as_slow(slow_limit):
    async def take() -> None:
        slow_limit[0] += 2.0

    asyncio.run(breaker("llm_api").acall(take))
    assert window() == "s"


def test_nobody_looks_at_the_clock_where_no_call_is_slow(monkeypatch):
    def clock() -> float:
        raise AssertionError

    monkeypatch.setattr("helios.breakers.guard.perf_counter", clock)
    assert breaker("llm_api").call(str, 1) == "1"


def test_a_failure_counts_even_where_its_task_is_cancelled_while_it_is_told():
    async def story() -> None:
        loop, leave = asyncio.get_running_loop(), threading.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))

        async def ask() -> None:
            async with breaker("llm_api"):
                raise VendorError

        async with breaker("llm_api"):
            pass
        busy = loop.run_in_executor(None, leave.wait, 20)
        task = asyncio.create_task(ask())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        leave.set()
        await busy

    asyncio.run(story())
    process.current().share()
    assert window() == "SF"
