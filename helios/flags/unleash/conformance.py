"""Unleash's client specification run against this evaluation: files of {name, state, tests, variantTests}.

Facts about the format: Unleash client specification 6.1.0. Here its clients' rules hold to the letter: a
prerequisite that has prerequisites itself is not met, and no name or value is refused that a client evaluates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from helios.flags.core import json_fields
from helios.flags.core.context import FlagContext
from helios.flags.core.evaluation import Evaluator, compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.variants import DISABLED
from helios.flags.unleash.context import context_from_json
from helios.flags.unleash.state import parse_state

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One test of a file that came out otherwise."""

    suite: str
    description: str
    flag: str
    context: Json
    expected: object
    got: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a file's tests came out."""

    suite: str
    passed: int
    failures: tuple[Failure, ...]


def run(data: object, now: datetime, evaluation_context: EvaluationContext) -> Outcome:
    """Evaluate every test of a file; `now` is the time for contexts that do not say it.

    Raises ValueError with one sentence where the file is not of the format.
    """
    plain = json_fields.mapping(data, "the file")
    if "tests" not in plain and "variantTests" not in plain:
        raise ValueError("the file must have tests or variantTests, had neither")
    suite = json_fields.text(plain, "name", "", "unnamed")
    flags = _evaluators(json_fields.mapping(plain.get("state"), "state"), evaluation_context)
    outcomes = [*_tests(plain, flags, now), *_variant_tests(plain, flags, now)]
    failures = tuple(
        Failure(
            suite=suite,
            description=str(case.get("description", "")),
            flag=case["toggleName"],
            context=case["context"],
            expected=expected,
            got=got,
        )
        for case, expected, got in outcomes
        if expected != got
    )
    return Outcome(suite=suite, passed=len(outcomes) - len(failures), failures=failures)


def fold_events(events: object) -> dict[str, Any]:
    """The state that a sequence of delta events leaves; an event of a kind not known here changes nothing."""
    features: dict[str, Any] = {}
    segments: dict[str, Any] = {}
    for number, event in enumerate(json_fields.read_list(events, "events", json_fields.mapping)):
        path = f"events[{number}]"
        match event.get("type"):
            case "hydration":
                features = _by(event, "features", path, "name")
                segments = _by(event, "segments", path, "id")
            case "feature-updated":
                feature = json_fields.mapping(event.get("feature"), f"{path}.feature")
                features[json_fields.text(feature, "name", f"{path}.feature")] = feature
            case "feature-removed":
                features.pop(json_fields.text(event, "featureName", path), None)
            case "segment-updated":
                segment = json_fields.mapping(event.get("segment"), f"{path}.segment")
                segments[json_fields.text(segment, "id", f"{path}.segment")] = segment
            case "segment-removed":
                segments.pop(json_fields.text(event, "segmentId", path), None)
    return {"features": list(features.values()), "segments": list(segments.values())}


def _by(event: Json, key: str, path: str, name: str) -> dict[str, Any]:
    listed = json_fields.items(event, key, path, json_fields.mapping)
    return {json_fields.text(each, name, f"{path}.{key}[{number}]"): each for number, each in enumerate(listed)}


def _evaluators(state: Json, evaluation_context: EvaluationContext) -> Mapping[str, Evaluator]:
    parsed = parse_state(fold_events(state["events"]) if "events" in state else state, strict=False)
    return compile_flags(parsed.features, parsed.segments, evaluation_context, chains=False)


def _tests(plain: Json, flags: Mapping[str, Evaluator], now: datetime) -> Iterator[tuple[Json, object, object]]:
    for case, context, path in _cases(plain, "tests"):
        expected = case.get("expectedResult")
        if not isinstance(expected, bool):
            raise json_fields.wrong_type(f"{path}.expectedResult", "true or false", expected)
        flag = flags.get(case["toggleName"])
        yield case, expected, flag is not None and flag.decide(context, now).enabled


def _variant_tests(plain: Json, flags: Mapping[str, Evaluator], now: datetime) -> Iterator[tuple[Json, object, object]]:
    for case, context, path in _cases(plain, "variantTests"):
        expected = dict(json_fields.mapping(case.get("expectedResult"), f"{path}.expectedResult"))
        if expected.get("payload", ...) is None:
            del expected["payload"]
        flag = flags.get(case["toggleName"])
        got = (DISABLED if flag is None else flag.choose(context, now)).to_json()
        if "feature_enabled" not in expected:  # files of before version 5 do not ask for it
            del got["feature_enabled"]
        yield case, expected, got


def _cases(plain: Json, key: str) -> Iterator[tuple[Json, FlagContext, str]]:
    for number, raw in enumerate(json_fields.items(plain, key, "", json_fields.mapping)):
        path = f"{key}[{number}]"
        case = {**raw, "toggleName": json_fields.text(raw, "toggleName", path), "context": raw.get("context") or {}}
        yield case, context_from_json(case["context"], f"{path}.context"), path
