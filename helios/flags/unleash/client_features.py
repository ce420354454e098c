"""The flags in Unleash's client format, so that its SDKs answer as Helios does: `GET /api/client/features`.

What Unleash cannot say in one strategy becomes several, of which one must hold. "The first of symbol, user,
strategy, system" is one strategy per identity, each for contexts that lack the earlier ones. Shares that move with
time are given as they are at this moment: an SDK that polls follows them. A flag that is on for nobody is off.

What stays different: an SDK draws by chance for itself where a context has no identity; it takes an identity that is
an empty text for a given one; it never follows a chain of prerequisites (Unleash's client specification forbids
them); and variants without a stickiness of their own hold on Unleash's default where the flag is a percentage with a
stickiness or a group of its own.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from django.conf import settings
from django.utils import timezone

from helios.flags import process
from helios.flags.core.activation import DEFAULT_ORDER
from helios.flags.core.buckets import share
from helios.flags.core.codec import constraint_to_json, prerequisite_to_json, variant_to_json
from helios.flags.core.context import ALIASES, IDENTITIES
from helios.flags.core.definition import BUCKETS, FlagDefinition, Strategy
from helios.flags.core.parts import DEFAULT_STICKINESS, RANDOM_STICKINESS, Constraint, Rule, Segment, Variant
from helios.flags.core.variants import HELIOS_STICKY, UNLEASH_STICKY
from helios.flags.unleash.state import segment_to_json

VERSION: Final = 2  # of the client format: the one with segments
_UNLEASH: Final = {own: name for name, own in ALIASES.items()}  # a field here -> Unleash's name
_IDENTITIES: Final = tuple(_UNLEASH.get(name, name) for name in IDENTITIES)
_MAKING: Final = threading.Lock()
_made: Final[list[Any]] = []  # a snapshot, a second, and the answer of the two
Json = dict[str, Any]
Case = tuple[list[Json], str]  # constraints, and what a share or a variant holds on where they do
MOST_REPEATED: Final = 3  # strategies that repeat the conditions of their flag
NO_SEGMENT: Final = 0  # the number of a segment that does not exist: it never holds


def client_features(now: datetime | None = None) -> Json:
    """The whole answer: features, segments, and which generation of flags they show; made once a second at most."""
    snapshot, second = process.snapshot(), (now or timezone.now()).replace(microsecond=0)
    with _MAKING:
        if not (_made and _made[0] is snapshot and _made[1] == second):
            body = payload(snapshot.flags, snapshot.segments, second)
            meta = {"revisionId": max(snapshot.generation, 0), "etag": _tag(body, snapshot.generation)}
            _made[:] = [snapshot, second, {**body, "query": {"environment": settings.ENVIRONMENT}, "meta": meta}]
        return cast("Json", _made[2])


def etag(features: Json) -> str:
    """The entity tag of an answer of `client_features`: another one whenever an SDK would answer otherwise."""
    return str(features["meta"]["etag"])


def _tag(body: Json, generation: int) -> str:
    """A strong tag: the generation, and a digest because shares move with time without a new generation."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return f'"{generation}-{digest[:16]}"'


def payload(flags: Mapping[str, FlagDefinition], segments: Mapping[str, Segment], now: datetime) -> Json:
    """Features and segments as they are at `now`; a pure function."""
    numbers = {name: number for number, name in enumerate(sorted(segments), start=1)}
    written = [segment_to_json(segments[name], number) for name, number in numbers.items()]
    features = [feature(flags[name], numbers, now, written) for name in sorted(flags)]
    return {"version": VERSION, "features": features, "segments": written}


def feature(flag: FlagDefinition, numbers: Mapping[str, int], now: datetime, written: list[Json]) -> Json:
    """One flag; `numbers` says which number each segment has.

    Its conditions stand in every strategy, or, where there are many, in a segment that is `written` beside the others.
    """
    strategies = _strategies(flag, numbers, now)
    conditions, within = _conditions(flag), [numbers.get(name, NO_SEGMENT) for name in flag.segments]
    if conditions and len(strategies) > MOST_REPEATED:
        within.append(len(written) + 1)
        written.append({"id": within[-1], "name": f"conditions of {flag.name}", "constraints": conditions})
        conditions = []
    served = [
        {
            **each,
            "constraints": [*conditions, *each["constraints"]],
            "segments": [*within, *each.get("segments", [])],
        }
        for each in strategies
    ]
    return {
        "name": flag.name,
        "type": "release",
        "project": "default",
        "enabled": flag.enabled and bool(served),
        "stale": False,
        "impressionData": False,
        "strategies": served,
        "variants": [_variant(each, None) for each in flag.variants],
        "dependencies": [prerequisite_to_json(each) for each in flag.prerequisites],
    }


def _strategies(flag: FlagDefinition, numbers: Mapping[str, int], now: datetime) -> list[Json]:
    """The alternatives of whom the flag serves; none at all where it serves nobody."""
    if flag.strategy is Strategy.RULES:
        return [each for rule in flag.rules for each in _by_rule(rule, flag.name, numbers)] or [_default([])]
    served = _by_own_strategy(flag, now)
    own = any(each["name"] != "default" for each in served) and (flag.stickiness or flag.group_id)
    if not flag.variants or flag.variants[0].stickiness != DEFAULT_STICKINESS or own:
        return served
    return [each for strategy in served for each in _with_variants(strategy, flag)]


def _by_own_strategy(flag: FlagDefinition, now: datetime) -> list[Json]:
    match flag.strategy:
        case Strategy.ALL_ON:
            return [_default([])]
        case Strategy.WHITELIST:
            return [_default([_one_of(name, flag.whitelist)]) for name in _IDENTITIES if flag.whitelist]
        case Strategy.BLACKLIST:
            return [_default([_one_of(name, flag.blacklist, "NOT_IN") for name in _IDENTITIES if flag.blacklist])]
        case Strategy.PERCENTAGE | Strategy.GRADUAL:
            return _by_share(flag, int(share(flag, now)))
        case _:
            return []


def _by_share(flag: FlagDefinition, percentage: int) -> list[Json]:
    if percentage <= 0:
        return []
    if percentage >= BUCKETS:
        return [_default([])]
    own = _UNLEASH.get(flag.stickiness, flag.stickiness)
    alternatives: Iterable[Case] = [([], own)] if own else _cases(_IDENTITIES, rest="")
    return [
        _rollout(percentage, sticky, flag.group_id or flag.name, constraints) for constraints, sticky in alternatives
    ]


def _by_rule(rule: Rule, flag: str, numbers: Mapping[str, int]) -> Iterator[Json]:
    """A rule as it is, or split where its stickiness is "default", which knows symbols here."""
    plain: Json = {
        "name": rule.name,
        "parameters": {**rule.parameters, "groupId": _group(rule, flag)},
        "constraints": [_constraint(each) for each in rule.constraints],
        "segments": [numbers.get(name, NO_SEGMENT) for name in rule.segments],
        "variants": [_variant(each, None) for each in rule.variants],
    }
    sticky = rule.parameters.get("stickiness") or DEFAULT_STICKINESS
    order = DEFAULT_ORDER if rule.name == "flexibleRollout" else UNLEASH_STICKY if rule.variants else ()
    if sticky != DEFAULT_STICKINESS or not order:
        own = _UNLEASH.get(sticky, sticky)
        yield {**plain, "parameters": {**plain["parameters"], "stickiness": own}} if order else plain
        return
    for constraints, held_on in _cases(order, rest=RANDOM_STICKINESS):
        yield {
            **plain,
            "parameters": {**plain["parameters"], "stickiness": held_on},
            "constraints": [*plain["constraints"], *constraints],
        }


def _group(rule: Rule, flag: str) -> str:
    """Without a group a rollout and its variants have the flag's, the older gradual rollouts an empty one."""
    older = rule.name.startswith("gradualRollout") and not rule.variants
    return rule.parameters.get("groupId", "") or ("" if older else flag)


def _with_variants(strategy: Json, flag: FlagDefinition) -> Iterator[Json]:
    """The strategy once for each value that its variants may hold on; what cannot be is left out.

    Strategy variants hold on the stickiness, and hash with the group, of a rollout: all become rollouts.
    """
    for constraints, held_on in _cases(HELIOS_STICKY, rest=RANDOM_STICKINESS):
        together = [*strategy["constraints"], *(each for each in constraints if each not in strategy["constraints"])]
        if _contradict(together):
            continue
        everybody = {"rollout": str(BUCKETS), "stickiness": held_on, "groupId": flag.name}
        yield {
            "name": "flexibleRollout",
            "parameters": {**everybody, **strategy["parameters"]},
            "constraints": together,
            "variants": [_variant(each, held_on) for each in flag.variants],
        }


def _cases(order: Sequence[str], rest: str) -> Iterator[Case]:
    """A case for each name: it is given and the earlier ones are not. `rest`: what holds when none is; "" for no."""
    absent: list[Json] = []
    for name in order:
        yield [*absent, _given(name)], name
        absent.append(_given(name, inverted=True))
    if rest:
        yield absent, rest


def _contradict(constraints: Sequence[Json]) -> bool:
    """Whether a value must be both given and missing."""
    given = {(each["contextName"], each["inverted"]) for each in constraints if _is_given(each)}
    return any((name, not inverted) in given for name, inverted in given)


def _is_given(constraint: Json) -> bool:
    return bool(constraint["operator"] == "STR_STARTS_WITH" and constraint["values"] == [""])


def _given(name: str, *, inverted: bool = False) -> Json:
    """Every text starts with the empty one, a missing value does not."""
    return _constraint(Constraint(context_name=name, operator="STR_STARTS_WITH", values=("",), inverted=inverted))


def _one_of(name: str, entries: Iterable[str], operator: str = "IN") -> Json:
    return _constraint(Constraint(context_name=name, operator=operator, values=tuple(sorted(entries))))


def _constraint(constraint: Constraint) -> Json:
    plain = constraint_to_json(constraint)
    return {**plain, "contextName": _UNLEASH.get(constraint.context_name, constraint.context_name)}


def _variant(variant: Variant, held_on: str | None) -> Json:
    plain = variant_to_json(variant)
    plain["stickiness"] = held_on or _UNLEASH.get(variant.stickiness, variant.stickiness)
    for override in plain.get("overrides", []):
        override["contextName"] = _UNLEASH.get(override["contextName"], override["contextName"])
    return plain


def _default(constraints: list[Json]) -> Json:
    return {"name": "default", "parameters": {}, "constraints": constraints}


def _rollout(percentage: int, sticky: str, group: str, constraints: list[Json]) -> Json:
    parameters = {"rollout": str(percentage), "stickiness": sticky, "groupId": group}
    return {"name": "flexibleRollout", "parameters": parameters, "constraints": constraints}


def _conditions(flag: FlagDefinition) -> list[Json]:
    """What must hold whatever the strategy is."""
    environments = [_one_of("environment", flag.environments)] if flag.environments else []
    return [*(_constraint(each) for each in flag.constraints), *environments]
