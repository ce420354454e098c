"""The functions of a floor above, named by dotted path in the settings: measures, replays, strategies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from django.conf import settings
from django.db import transaction
from django.utils.module_loading import import_string

from helios.rollouts.core.assignment import Mode
from helios.rollouts.core.measures import ArmMeasures, checked
from helios.rollouts.models import Rollout
from helios.rollouts.selectors import step_of


def named(setting: str) -> Callable[..., Any]:
    """The function that a setting names, or holds. Raises ImportError where there is none."""
    value = getattr(settings, setting)
    return cast("Callable[..., Any]", value if callable(value) else import_string(value))


def measure(row: Rollout) -> dict[str, ArmMeasures]:
    """Both arms of the present step: over stored history in a replay, else what cycles recorded since it began.

    Raises what the provider raises, and `MeasuresUnusable` for an answer that cannot be judged.
    """
    if step_of(row).kind is Mode.REPLAY:
        return checked(named("ROLLOUT_REPLAY")(row))
    with transaction.atomic():  # a query that fails in the provider leaves the caller's transaction usable
        return checked(named("ROLLOUT_MEASURES")(row.pk, row.step, row.measured_since))


def reading(row: Rollout) -> dict[str, ArmMeasures]:
    """The same for guards, which look after every cycle: a provider's `remembering` reads only what is new to it."""
    provider = named("ROLLOUT_MEASURES")
    with transaction.atomic():
        return checked(getattr(provider, "remembering", provider)(row.pk, row.step, row.measured_since))
