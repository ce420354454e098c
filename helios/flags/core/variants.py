"""Which variant a context gets: weights over their sum, held on a sticky id, with overrides first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from helios.flags.core.buckets import murmur
from helios.flags.core.context import FlagContext, reader
from helios.flags.core.parts import DEFAULT_STICKINESS, RANDOM_STICKINESS, Variant, VariantResult

SEED: Final = 86028157  # of Unleash's specification: variants must not follow the buckets of the rollout
DISABLED: Final = VariantResult()
ON_WITHOUT: Final = VariantResult(feature_enabled=True)  # the flag is on and has no variant to give
UNLEASH_STICKY: Final = ("userId", "sessionId", "remoteAddress", "symbol", "strategy", "system")
HELIOS_STICKY: Final = ("symbol", "userId", "strategy", "system", "sessionId", "remoteAddress")
Choose = Callable[[FlagContext], "VariantResult | None"]
Sticky = Callable[[FlagContext], "str | None"]
Draw = Callable[[], float]


def normalized(group_id: str, held_on: str, total: int) -> int:
    """The place 1..total of a sticky id among weights that sum to `total`."""
    return murmur(f"{group_id}:{held_on}", SEED) % total + 1


def first_of(names: tuple[str, ...]) -> Sticky:
    """The first of these values that the context gives, or None."""
    reads = tuple(map(reader, names))

    def sticky(context: FlagContext) -> str | None:
        for read in reads:
            value = read(context)
            if value:
                return value
        return None

    return sticky


def compile_variants(
    variants: tuple[Variant, ...],
    group_id: str,
    draw: Draw,
    *,
    stickiness: str = "",
    order: tuple[str, ...] = UNLEASH_STICKY,
) -> Choose:
    """How a context's variant is chosen; None comes where there is none to give.

    What they hold on is `stickiness`, else that of the first variant; `order` is what "default" means.
    Who has no sticky id gets one by chance.
    """
    results = tuple(_result(each) for each in variants)
    places = tuple(accumulate(each.weight for each in variants))
    total = places[-1] if places else 0
    if total <= 0:
        return lambda _context: None
    overridden = _overrides(variants)
    sticky = _sticky(stickiness or variants[0].stickiness, order)

    def choose(context: FlagContext) -> VariantResult | None:
        forced = overridden(context) if overridden is not None else None
        if forced is not None:
            return results[forced]
        held_on = sticky(context)
        place = normalized(group_id, held_on, total) if held_on else min(int(draw() * total), total - 1) + 1
        return results[bisect_left(places, place)]

    return choose


def _result(variant: Variant) -> VariantResult:
    return VariantResult(name=variant.name, enabled=True, feature_enabled=True, payload=variant.payload)


def _sticky(stickiness: str, order: tuple[str, ...]) -> Sticky:
    if stickiness == RANDOM_STICKINESS:
        return lambda _context: None
    return first_of(order if stickiness == DEFAULT_STICKINESS else (stickiness,))


def _overrides(variants: tuple[Variant, ...]) -> Callable[[FlagContext], int | None] | None:
    """The number of the variant that an override forces; None when there is no override at all."""
    forced = tuple(
        (reader(each.context_name), frozenset(each.values), number)
        for number, variant in enumerate(variants)
        for each in variant.overrides
    )
    if not forced:
        return None
    return lambda context: next((number for read, values, number in forced if read(context) in values), None)
