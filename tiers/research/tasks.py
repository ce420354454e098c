"""The replay of a rollout, which a worker of cycles runs: the one of maintenance asks for it, and loads no module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from celery import shared_task
from celery.exceptions import TimeoutError as TookTooLong
from celery.result import allow_join_result

from helios.errors import HeliosError, Rejected, error_text
from helios.rollouts import selectors
from helios.rollouts.core.measures import ArmMeasures
from helios.rollouts.models import Rollout

WAIT_S: Final = 200.0  # less than the time that the task has which waits


@shared_task(name="tiers.replay_rollout", ignore_result=False)
def replay_rollout(rollout_id: int) -> dict[str, Any]:
    """The measures of each arm, or why there are none."""
    from tiers.research import rollout_replay  # noqa: PLC0415 - slow to import where nobody replays

    try:
        arms = rollout_replay.replay(selectors.get(rollout_id))
    except HeliosError as error:
        return {"refused": error_text(error)}
    return {arm: asdict(measures) for arm, measures in arms.items()}


def measure(rollout: Rollout) -> dict[str, ArmMeasures]:
    """The provider that `settings.ROLLOUT_REPLAY` names; raises `Rejected` where there is nothing to measure."""
    if os.environ.get("HELIOS_COMPONENT") != "maintenance":
        return read(replay_rollout(rollout.pk))
    asked = replay_rollout.apply_async(args=(rollout.pk,), expires=WAIT_S, retry=False)
    try:
        with allow_join_result():
            return read(asked.get(timeout=WAIT_S))
    except TookTooLong:
        raise Rejected(
            f"a worker of queue default must replay within {WAIT_S:g} s, none did: is one running?"
        ) from None
    finally:
        asked.forget()


def read(answer: Mapping[str, Any]) -> dict[str, ArmMeasures]:
    """What `replay_rollout` answered, also by way of JSON."""
    if "refused" in answer:
        raise Rejected(answer["refused"])
    return {arm: ArmMeasures(**{name: _frozen(value) for name, value in each.items()}) for arm, each in answer.items()}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
