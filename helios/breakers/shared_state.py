"""The state that all workers share: one Lua script takes each decision inside Redis, on Redis's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import redis

from helios.breakers.core.config import Config
from helios.breakers.core.machine import At, Circuit, Outcome, Permit, State, Step, Transition
from helios.breakers.errors import SharedStateAway, SharedStateUnreadable
from helios.errors import error_text
from helios.redis_client import connect

TIMEOUT_S = 0.25  # a decision takes about 0.1 ms; a guarded call must not wait longer than this for its breaker
KEY = "helios:{breakers}"  # the braces keep both keys of a script on one node of a cluster
MOST = 2**53  # whole numbers up to here are the same in Lua and in Python
LONGEST_S = 1e10  # seconds that a date can carry
OF_WHAT_LIES_THERE = ("WRONGTYPE", "UNREADABLE", "user_script")  # how answers begin that no retry mends
ANY = At(now=0.0)  # for questions that nothing depends on; the time is always that of Redis
CLOCK = """
local function clock()
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What Redis decided. `step.circuit.open_until` is on Redis's clock, as `now` is."""

    step: Step
    now: float  # seconds since the epoch
    changes: int  # configuration changes announced so far
    probes: int  # permits under way

    @property
    def open_for_s(self) -> float:
        return max(0.0, self.step.circuit.open_until - self.now)


@lru_cache(maxsize=1)
def _script() -> str:
    return Path(__file__).with_name("decide.lua").read_text(encoding="utf-8")


class SharedStore:
    """Circuits in Redis. Every method raises `SharedStateAway` when Redis cannot answer.

    Whoever reaches Redis may write there: what no breaker has left is told as `SharedStateUnreadable`.
    `clock` is the Lua function that tells the time, a seam for tests that cannot wait.
    """

    def __init__(self, client: redis.Redis, *, prefix: str = KEY, clock: str = CLOCK) -> None:
        self._client = client
        self._prefix = prefix
        self._decide = client.register_script(clock + _script())

    @classmethod
    def from_url(cls, url: str) -> SharedStore:
        """A store that gives up quickly and never asks twice: a failure must not be counted two times."""
        return cls(connect(url, timeout_s=TIMEOUT_S))

    def acquire(self, name: str, config: Config, at: At, generation: int, *, token: str, unshared: str) -> Reply:
        """Ask for a permit, and share outcomes of `generation`; see `core.acquire`."""
        return self._ask(name, config, "acquire", at, generation, token=token, unshared=unshared)

    def record(
        self, name: str, config: Config, at: At, generation: int, *, token: str, outcome: Outcome, unshared: str
    ) -> Reply:
        """Report the end of a call that `token` or `generation` permitted; see `core.record`."""
        return self._ask(name, config, "record", at, generation, token=token, outcome=outcome.value, unshared=unshared)

    def share(self, name: str, config: Config, at: At, generation: int, *, unshared: str) -> Reply:
        """Tell outcomes without asking for anything; see `core.share`."""
        return self._ask(name, config, "share", at, generation, unshared=unshared)

    def close(self, name: str, config: Config, *, reason: str) -> Reply:
        """Close the circuit and forget its window, whatever lay there; see `core.close`."""
        try:
            return self._ask(name, config, "close", reason=reason)
        except SharedStateUnreadable:
            self.remove(name)
            self._count_anew()
            return self._ask(name, config, "close", reason=reason)

    def peek(self, name: str, config: Config) -> Reply:
        """The circuit as it stands; changes nothing."""
        return self._ask(name, config, "peek")

    def remove(self, name: str) -> None:
        """Forget the circuit; used again, it begins anew."""
        try:
            self._client.delete(f"{self._prefix}:{name}")
        except redis.RedisError as error:
            raise _away(error) from error

    def changes(self) -> int:
        """How many configuration changes were announced so far."""
        try:
            return _count(self._client.getrange(f"{self._prefix}:changes", 0, 20) or "0")
        except (redis.RedisError, ValueError) as error:
            raise _away(error) from error

    def announce(self) -> None:
        """Tell every worker that some breaker's configuration changed."""
        try:
            self._client.incr(f"{self._prefix}:changes")
        except redis.ResponseError:  # no number lies there
            self._count_anew()
        except redis.RedisError as error:
            raise _away(error) from error

    def _count_anew(self) -> None:
        """Another number of configuration changes than any process has heard of."""
        try:
            self._client.set(f"{self._prefix}:changes", time.time_ns() // 1_000)
        except redis.RedisError as error:
            raise _away(error) from error

    def _ask(
        self,
        name: str,
        config: Config,
        operation: str,
        at: At = ANY,
        generation: int = 0,
        *,
        token: str = "",
        outcome: str = "",
        unshared: str = "",
        reason: str = "",
    ) -> Reply:
        keys = [f"{self._prefix}:{name}", f"{self._prefix}:changes"]
        arguments: list[str | int | float] = [
            operation, generation, token, outcome, unshared, int(at.enforce), at.chance, reason,
            config.failure_threshold, config.failure_rate, config.slow_call_rate,
            config.minimum_calls, config.window_calls, config.window_s,
            config.open_s, config.open_multiplier, config.open_max_s,
            config.open_jitter, config.half_open_permits, config.permit_s,
        ]  # fmt: skip
        try:
            return _reply(self._decide(keys=keys, args=arguments))
        except (redis.RedisError, ValueError) as error:
            raise _away(error) from error


def _away(error: redis.RedisError | ValueError) -> SharedStateAway:
    if isinstance(error, ValueError) or str(error).startswith(OF_WHAT_LIES_THERE):
        return SharedStateUnreadable(f"the shared state of the breakers cannot be read: {error_text(error)}")
    return SharedStateAway(f"the shared state of the breakers cannot be reached: {error}")


def _reply(raw: Any) -> Reply:
    """The script's flat list as a `Reply`; raises `ValueError` where what lay there was none of ours."""
    granted, held, state, generation, born, window, remaining, openings, closed_at, retry, *rest = (
        part.decode() if isinstance(part, bytes) else str(part) for part in raw
    )
    before, reason, changes, now, probes = rest
    moment = float(now)
    circuit = Circuit(
        state=State(state),
        generation=_count(generation),
        born=_count(born),
        window=window,
        open_until=moment + _seconds(remaining),
        openings=_count(openings),
        closed_at=_seconds(closed_at),
    )
    step = Step(
        circuit=circuit,
        permit=Permit(circuit.generation, held) if granted == "1" else None,
        retry_after_s=_seconds(retry),
        transition=Transition(before=State(before), after=circuit.state, reason=reason) if before else None,
    )
    return Reply(step=step, now=moment, changes=_count(changes or "0"), probes=_count(probes))


def _count(text: str | bytes) -> int:
    number = int(text)
    if not 0 <= number <= MOST:
        raise ValueError(f"a number of it must be from 0 to {MOST}, was {text!r}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not abs(number) <= LONGEST_S:  # NaN too
        raise ValueError(f"a time of it must be within {LONGEST_S:g} s, was {text}")
    return number
