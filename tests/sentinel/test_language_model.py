"""The model that tier 5 asks has an end: who runs Helios hears of it weeks before."""

from __future__ import annotations

import dataclasses
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import get_args

import pytest
from anthropic.resources.messages import messages as sdk
from anthropic.types import Model
from dateutil import parser
from pydantic import SecretStr

from helios.env import Env
from sentinel.audits import CHECKS, Severity, audit, language_model
from sentinel.audits.facts import Reading, Snapshot
from sentinel.audits.findings import Finding
from sentinel.probes import platform

FINE = Snapshot(
    taken_at=datetime(2026, 11, 28, 12, tzinfo=UTC), readings={name: Reading(skipped="") for name in CHECKS}
)


def found(model: str, day: str) -> list[Finding]:
    """What the audit says of this model at that moment (UTC)."""
    now = datetime.fromisoformat(day).replace(tzinfo=UTC)
    report = audit(dataclasses.replace(FINE, llm_model=model, taken_at=now))
    return list(next(check for check in report.checks if check.name == "language_model").findings)


@pytest.mark.parametrize(
    ("day", "code"),
    [
        ("2026-09-30T23:59", ""),
        ("2026-10-01T00:00", "MODEL_ENDING"),
        ("2026-11-29T23:59", "MODEL_ENDING"),
        ("2026-11-30T00:00", "MODEL_ENDED"),
        ("2027-05-01T00:00", "MODEL_ENDED"),
    ],
)
def test_the_end_of_a_model_is_a_warning_two_months_before_and_critical_from_its_day_on(day: str, code: str) -> None:
    severity = {"MODEL_ENDING": Severity.WARNING, "MODEL_ENDED": Severity.CRITICAL}
    assert [(each.code, each.severity) for each in found("claude-sonnet-4-5", day)] == (
        [(code, severity[code])] if code else []
    )


def test_the_sentence_names_the_model_its_day_and_the_setting() -> None:
    (warning,) = found("claude-opus-4-5-20251101", "2027-01-20")
    assert warning.message == (
        "claude-opus-4-5-20251101 ends on 2027-01-22, requests fail from then on: "
        "set HELIOS_LLM_MODEL to a current model"
    )
    assert (warning.observed, warning.limit) == ("2 days left", "60 days")
    (ended,) = found("claude-opus-4-5-20251101", "2027-01-22")
    assert "ended on 2027-01-22, the rule-based analyst answers instead" in ended.message


@pytest.mark.parametrize("model", ["", "claude-sonnet-5-5", "a-model-of-ones-own"])
def test_a_model_without_an_announced_end_and_none_at_all_are_fine(model: str) -> None:
    assert found(model, "2030-01-01") == []


def test_the_default_is_a_model_that_the_sdk_knows_and_whose_end_is_not_announced() -> None:
    default = Env.model_fields["llm_model"].default
    assert default in {name for choice in get_args(Model) for name in get_args(choice)}
    assert default not in sdk.DEPRECATED_MODELS
    assert language_model.end_of(default) is None


def test_the_table_agrees_with_the_sdk_about_every_model_that_ends() -> None:
    told = {model: parser.parse(day).date() for model, day in sdk.DEPRECATED_MODELS.items()}
    later = {model: day for model, day in told.items() if day >= date(2026, 6, 30)}
    assert later
    assert {model: language_model.end_of(model) for model in later} == later


@pytest.mark.parametrize(("key", "asked"), [(None, ""), (SecretStr("k"), "claude-sonnet-4-5")])
def test_only_a_model_that_is_asked_can_end(key: SecretStr | None, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = SimpleNamespace(anthropic_api_key=key, llm_model="claude-sonnet-4-5")
    monkeypatch.setattr(platform, "get_env", lambda: env)
    assert platform.language_model()[0] == asked
