"""Unleash's own engine, in its Python package, asked the same questions about states made up here.

Left out on purpose, for there the engine goes its own way and Helios follows the Node client: unknown operators and
segments (the engine turns the whole flag off instead of one strategy), overrides of strategy variants (it ignores
them), inverted constraints whose own limit cannot be read (it keeps them false), build metadata of a version (it
compares it), empty sticky ids (it serves them), answers that hang on chance.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Operator
from helios.flags.unleash.context import context_from_json
from helios.flags.unleash.state import parse_state

engine = pytest.importorskip("yggdrasil_engine.engine", reason="Unleash's engine is not installed")

TEXTS = ["a", "ab", "AB", "12", "12.0", "7", "1.2.3", "1.2.3-rc.1", "2.0.0", "10.0.0.1", "192.168.1.5", "é", "日本"]
FIELDS = ["userId", "sessionId", "remoteAddress", "environment", "appName", "currentTime", "p", "q"]
LIMITS = {
    "NUM": ["12", "7", "-1", "12.5", "1e1"],
    "DATE": ["2026-01-30T13:00:00Z", "2026-06-01T00:00:00+02:00"],
    "SEMVER": ["1.2.3", "2.0.0-beta", "1.2.3-rc.2"],
    "REGEX": ["a+", "^a", "b$", "[0-9]+", "^1\\.2", "é", "(?i)A"],
}
NETWORKS = ["10.0.0.0/8", "192.168.1.77/24", "10.0.0.1", "::/0"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
Json = dict


def constraint(chance: random.Random) -> Json:
    operator = chance.choice(list(Operator))
    made: Json = {"contextName": chance.choice(FIELDS), "operator": str(operator)}
    family = operator.split("_")[0]
    if family in LIMITS:
        made["value"] = chance.choice(LIMITS[family])
    else:
        made["values"] = chance.sample(NETWORKS if operator is Operator.IN_CIDR else TEXTS, chance.randint(1, 3))
    return {**made, "inverted": chance.random() < 0.4, "caseInsensitive": chance.random() < 0.4}


def variants(chance: random.Random, *, overrides: bool) -> list[Json]:
    sticky = chance.choice(["default", "userId", "sessionId"])
    made = [
        {"name": f"v{number}", "weight": chance.choice([0, 1, 33, 500]), "stickiness": sticky}
        for number in range(chance.randint(1, 4))
    ]
    made[0]["weight"] = 5
    made[-1]["payload"] = {"type": "string", "value": chance.choice(TEXTS)}
    if overrides and chance.random() < 0.4:
        made[0]["overrides"] = [{"contextName": chance.choice(FIELDS), "values": chance.sample(TEXTS, 3)}]
    return made


def strategy(chance: random.Random) -> Json:
    share, group = str(chance.choice([0, 1, 30, 50, 99, 100])), chance.choice(["g", "é"])
    sticky = chance.choice(["default", "userId", "p"])
    name, parameters = chance.choice(
        [
            ("default", {}),
            ("userWithId", {"userIds": ", ".join(chance.sample(TEXTS, 4))}),
            ("gradualRolloutUserId", {"percentage": share, "groupId": group}),
            ("gradualRolloutSessionId", {"percentage": share, "groupId": group}),
            ("flexibleRollout", {"rollout": share, "stickiness": sticky, "groupId": group}),
            ("flexibleRollout", {"rollout": share, "stickiness": sticky}),
            ("remoteAddress", {"IPs": "10.0.0.0/8, 127.0.0.1"}),
            ("homeMade", {}),
        ]
    )
    made: Json = {"name": name, "parameters": parameters}
    made["constraints"] = [constraint(chance) for _ in range(chance.choice([0, 1, 1, 2]))]
    made["segments"] = chance.sample([1, 2], chance.choice([0, 0, 1]))
    made["variants"] = variants(chance, overrides=False) if chance.random() < 0.3 else []
    return made


def feature(chance: random.Random, name: str) -> Json:
    made: Json = {"name": name, "enabled": chance.random() < 0.9}
    made["strategies"] = [strategy(chance) for _ in range(chance.randint(0, 3))]
    made["variants"] = variants(chance, overrides=True) if chance.random() < 0.5 else []
    if chance.random() < 0.3:
        asked: Json = {"feature": f"flag{chance.randint(0, 7)}"}
        made["dependencies"] = [asked | chance.choice([{}, {"enabled": False}, {"variants": ["v0", "disabled"]}])]
    return made


def context(chance: random.Random) -> Json:
    made: Json = {"userId": chance.choice(TEXTS), "sessionId": chance.choice(TEXTS)}
    made["currentTime"] = chance.choice(["2026-01-30T13:00:00Z", "2026-08-01T00:00:00Z"])
    for name in ("remoteAddress", "environment", "appName"):
        if chance.random() < 0.6:
            made[name] = chance.choice(TEXTS)
    made["properties"] = {name: chance.choice(TEXTS) for name in ("p", "q") if chance.random() < 0.7}
    return made


@pytest.mark.parametrize("seed", range(30))
def test_flags_and_variants_are_those_of_unleashs_engine(seed: int) -> None:
    chance = random.Random(seed)
    state = {
        "version": 2,
        "features": [feature(chance, f"flag{number}") for number in range(8)],
        "segments": [
            {"id": number, "name": f"segment{number}", "constraints": [constraint(chance)]} for number in (1, 2)
        ],
    }
    theirs = engine.UnleashEngine()
    theirs.take_state(json.dumps(state))
    parsed = parse_state(state, strict=False)
    ours = compile_flags(parsed.features, parsed.segments, EvaluationContext(), chains=False)
    for _ in range(8):
        asked = context(chance)
        for name, flag in ours.items():
            expected = theirs.get_variant(name, asked).variant
            got = flag.choose(context_from_json(asked), NOW)
            payload = {"type": got.payload.type, "value": got.payload.value} if got.payload else None
            question = json.dumps([asked, name, state])
            assert theirs.is_enabled(name, asked).is_enabled is flag.decide(context_from_json(asked), NOW).enabled
            assert (got.name, got.enabled, got.feature_enabled, payload) == (
                expected.name,
                expected.enabled,
                expected.feature_enabled,
                expected.payload or None,
            ), question
