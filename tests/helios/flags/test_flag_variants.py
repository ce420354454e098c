"""Which variant does a context get? Weights, stickiness, overrides, chance."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helios.flags.core.context import NOBODY, FlagContext
from helios.flags.core.definition import FlagDefinition, Strategy
from helios.flags.core.evaluation import compile_flags
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import Override, Payload, Prerequisite, Variant, VariantResult
from helios.flags.core.variants import SEED, normalized
from tests.helios.flags.test_flag_core import murmur3_x86_32
from tests.support import flags as made

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def flag_of(*variants: Variant, **fields: object) -> FlagDefinition:
    return FlagDefinition(**{"name": "a", "enabled": True, "variants": variants, **fields})


def chosen(flag: FlagDefinition, context: FlagContext = NOBODY, draw: float = 0.0) -> VariantResult:
    return compile_flags({flag.name: flag}, {}, EvaluationContext(draw=lambda: draw))[flag.name].choose(context, NOW)


def users(number: int) -> list[FlagContext]:
    return [FlagContext(user=str(each)) for each in range(number)]


@given(group=st.text(max_size=10), held_on=st.text(max_size=10), total=st.integers(1, 10_000))
def test_places_equal_the_published_murmur3_with_the_seed_of_variants(group: str, held_on: str, total: int) -> None:
    assert normalized(group, held_on, total) == murmur3_x86_32(f"{group}:{held_on}".encode(), SEED) % total + 1


@pytest.mark.parametrize("weights", [(1, 1), (25, 25, 25, 25), (1, 49, 50), (333, 333, 334), (1000,), (1, 0, 3)])
def test_each_variant_gets_its_weight_over_the_sum_of_all(weights: tuple[int, ...]) -> None:
    flag = flag_of(*(Variant(name=str(place), weight=weight) for place, weight in enumerate(weights)))
    prepared = compile_flags({"a": flag}, {}, EvaluationContext())["a"]
    counts = Counter(prepared.choose(context, NOW).name for context in users(4_000))
    for place, weight in enumerate(weights):
        share = weight / sum(weights)
        assert abs(counts[str(place)] / 4_000 - share) <= 4 * (share * (1 - share) / 4_000) ** 0.5


@given(context=made.contexts, variants=made.variant_lists())
def test_the_same_context_keeps_its_variant_whatever_chance_says(
    context: FlagContext, variants: tuple[Variant, ...]
) -> None:
    sticky = context.user or context.symbol
    if sticky and variants and variants[0].stickiness == "default":
        assert chosen(flag_of(*variants), context, 0.0) == chosen(flag_of(*variants), context, 0.99)


def test_a_payload_comes_with_its_variant() -> None:
    payload = Payload(type="json", value='{"window": 20}')
    result = chosen(flag_of(Variant(name="fast", weight=1, payload=payload)))
    assert result == VariantResult(name="fast", enabled=True, feature_enabled=True, payload=payload)
    assert result.to_json() == {
        "name": "fast",
        "enabled": True,
        "feature_enabled": True,
        "payload": {"type": "json", "value": '{"window": 20}'},
    }


@pytest.mark.parametrize(
    ("flag", "feature_enabled"),
    [
        (flag_of(Variant(name="x", weight=1), enabled=False), False),
        (flag_of(Variant(name="x", weight=1), strategy=Strategy.ALL_OFF), False),
        (flag_of(), True),
        (flag_of(Variant(name="x", weight=0)), True),
    ],
)
def test_without_a_variant_to_give_it_is_called_disabled(flag: FlagDefinition, feature_enabled: bool) -> None:
    assert chosen(flag).to_json() == {"name": "disabled", "enabled": False, "feature_enabled": feature_enabled}


def test_an_override_gives_its_variant_whatever_the_hash_says() -> None:
    vip = Override(context_name="userId", values=("7", "8"))
    desk = Override(context_name="desk", values=("crypto",))
    flag = flag_of(Variant(name="main", weight=1000), Variant(name="vip", weight=0, overrides=(vip, desk)))
    assert chosen(flag, FlagContext(user="7")).name == "vip"
    assert chosen(flag, FlagContext(user="9", attributes={"desk": "crypto"})).name == "vip"
    assert chosen(flag, FlagContext(user="9")).name == "main"
    assert chosen(flag).name == "main"


def halves(stickiness: str = "default") -> FlagDefinition:
    return flag_of(*(Variant(name=name, weight=500, stickiness=stickiness) for name in ("red", "blue")))


def test_a_flag_of_helios_holds_its_variants_on_the_symbol_first() -> None:
    symbols = [f"S{number}" for number in range(60)]
    alone = [chosen(halves(), FlagContext(symbol=symbol)).name for symbol in symbols]
    together = [chosen(halves(), FlagContext(symbol=symbol, user="ada")).name for symbol in symbols]
    assert alone == together
    assert set(alone) == {"red", "blue"}


def test_a_flag_of_unleash_holds_its_variants_on_the_user_first() -> None:
    flag = flag_of(*halves().variants, strategy=Strategy.RULES)
    for name in ("sessionId", "remoteAddress"):
        names = {
            chosen(flag, FlagContext(user="ada", symbol=f"S{each}", attributes={name: str(each)})).name
            for each in range(40)
        }
        assert len(names) == 1
        lone = {chosen(flag, FlagContext(attributes={name: str(each)})).name for each in range(40)}
        assert lone == {"red", "blue"}


@pytest.mark.parametrize(("draw", "name"), [(0.0, "red"), (0.499, "red"), (0.5, "blue"), (0.9999999999999999, "blue")])
def test_chance_chooses_where_nothing_sticks(draw: float, name: str) -> None:
    assert chosen(halves(), NOBODY, draw).name == name
    assert chosen(halves("random"), FlagContext(user="ada"), draw).name == name
    assert chosen(halves("desk"), FlagContext(user="ada"), draw).name == name


def test_a_prerequisite_may_ask_for_a_variant() -> None:
    parent = FlagDefinition(name="parent", enabled=True, variants=(Variant(name="red", weight=1),))
    flags = {
        "parent": parent,
        "red": FlagDefinition(
            name="red", enabled=True, prerequisites=(Prerequisite(feature="parent", variants=("red", "green")),)
        ),
        "blue": FlagDefinition(
            name="blue", enabled=True, prerequisites=(Prerequisite(feature="parent", variants=("blue",)),)
        ),
    }
    prepared = compile_flags(flags, {}, EvaluationContext())
    assert [prepared[name].decide(NOBODY, NOW).enabled for name in ("red", "blue")] == [True, False]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_variant_called_disabled_means_a_parent_that_is_on_and_has_none(enabled: bool) -> None:
    asked = Prerequisite(feature="parent", variants=("disabled",))
    flags = {
        "parent": FlagDefinition(name="parent", enabled=enabled),
        "child": FlagDefinition(name="child", enabled=True, prerequisites=(asked,)),
    }
    assert compile_flags(flags, {}, EvaluationContext())["child"].decide(NOBODY, NOW).enabled is enabled
