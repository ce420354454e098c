"""Flags worked out once, for many evaluations: each definition becomes a few closures over prepared values.

Nothing here reads a clock: `now` is an argument, and an evaluator says in `timed` whether it looks at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from helios.flags.core import graph
from helios.flags.core.activation import compile_strategy
from helios.flags.core.buckets import bucket, is_moving, share
from helios.flags.core.constraints import Test, compile_constraint, is_timed
from helios.flags.core.context import FlagContext, reader
from helios.flags.core.definition import BUCKETS, Decision, FlagDefinition, Reason, Strategy
from helios.flags.core.evaluation_context import EvaluationContext
from helios.flags.core.parts import DEFAULT_STICKINESS, Constraint, Prerequisite, Rule, Segment, VariantResult
from helios.flags.core.variants import DISABLED, HELIOS_STICKY, ON_WITHOUT, UNLEASH_STICKY, Choose, compile_variants

Decide = Callable[[FlagContext, datetime], Decision]
Gate = tuple[Test, Decision]  # a condition, and the answer where it does not hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluator:
    """One flag, ready to be asked."""

    definition: FlagDefinition
    decide: Decide
    timed: bool  # whether `decide` and `choose` look at `now`
    fixed: bool | None  # the answer, where it hangs on nothing
    by_rule: tuple[Choose | None, ...]  # the variants of each rule
    by_flag: Choose

    def choose(self, context: FlagContext, now: datetime) -> VariantResult:
        """The variant that the context gets now."""
        return self.variant_of(self.decide(context, now), context)

    def variant_of(self, decision: Decision, context: FlagContext) -> VariantResult:
        """The variant that belongs to a decision: of the rule that held, else of the flag."""
        if not decision.enabled:
            return DISABLED
        of_rule = self.by_rule[decision.rule] if decision.rule is not None else None
        chosen = of_rule(context) if of_rule is not None else None
        return chosen or self.by_flag(context) or ON_WITHOUT


def compile_flags(
    flags: Mapping[str, FlagDefinition],
    segments: Mapping[str, Segment],
    evaluation_context: EvaluationContext,
    *,
    chains: bool = True,
) -> dict[str, Evaluator]:
    """Every flag as an evaluator. Without `chains` a prerequisite with prerequisites is not met, as in Unleash.

    Flags on a circle, behind one, or that would cause too much work are off: their prerequisites are not met.
    """
    inside = {name: _inside(segment, evaluation_context) for name, segment in segments.items()}
    cost = graph.costs(graph.prerequisites(flags))
    done: dict[str, Evaluator] = {}
    for name in [*cost, *(name for name in flags if name not in cost)]:
        known = done if cost.get(name, graph.MAX_COST + 1) <= graph.MAX_COST else {}
        done[name] = _Compiler(flags[name], inside, evaluation_context, known, chains=chains).evaluator()
    return done


def constant(flag: FlagDefinition) -> bool | None:
    """The answer when it hangs on neither context nor time, else None: what a snapshot can hold ready."""
    if not flag.enabled or flag.strategy in {Strategy.ALL_OFF, Strategy.KILL_SWITCH}:
        return False
    if flag.prerequisites or flag.environments or flag.constraints or flag.segments:
        return None
    match flag.strategy:
        case Strategy.PERCENTAGE if flag.percentage in {0, BUCKETS} and not flag.schedule:
            return flag.percentage == BUCKETS
        case Strategy.WHITELIST if not flag.whitelist:
            return False
        case Strategy.BLACKLIST if not flag.blacklist:
            return True
    serves_all = flag.strategy is Strategy.ALL_ON or (flag.strategy is Strategy.RULES and not flag.rules)
    return True if serves_all else None


@dataclass(frozen=True, slots=True)
class _Inside:
    """A segment, compiled once for all flags and rules that name it."""

    test: Test
    timed: bool


def _inside(segment: Segment, evaluation_context: EvaluationContext) -> _Inside:
    here = evaluation_context.environment
    tests = tuple(compile_constraint(each, here=here) for each in segment.constraints)
    return _Inside(_once(_all(tests)), any(map(is_timed, segment.constraints)))


@dataclass(frozen=True, slots=True)
class _Compiler:
    """The definition of one flag, and what is around it."""

    flag: FlagDefinition
    segments: Mapping[str, _Inside]
    evaluation_context: EvaluationContext
    known: Mapping[str, Evaluator]  # the flags that this one may ask
    chains: bool = True

    def evaluator(self) -> Evaluator:
        flag = self.flag
        return Evaluator(
            definition=flag,
            decide=self._decide(),
            timed=self._is_timed(),
            fixed=constant(flag),
            by_rule=tuple(self._variants_of(rule) if rule.variants else None for rule in flag.rules),
            by_flag=compile_variants(
                flag.variants,
                flag.name,
                self.evaluation_context.draw,
                order=UNLEASH_STICKY if flag.strategy is Strategy.RULES else HELIOS_STICKY,
            ),
        )

    def _variants_of(self, rule: Rule) -> Choose:
        """Group and stickiness of a rule's variants are those of the rule, as in Unleash's engine."""
        return compile_variants(
            rule.variants,
            rule.parameters.get("groupId", "") or self.flag.name,
            self.evaluation_context.draw,
            stickiness=rule.parameters.get("stickiness", "") or DEFAULT_STICKINESS,
        )

    def _decide(self) -> Decide:
        if self.flag.strategy is Strategy.KILL_SWITCH:
            return _always(_KILLED)
        if not self.flag.enabled:
            return _always(_DISABLED)
        gates, serve = self._gates(), self._serve()
        return _gated(gates, serve) if gates else serve

    def _gates(self) -> tuple[Gate, ...]:
        """What stands in front of the strategy, in the order in which it is asked."""
        flag = self.flag
        environment = [(self._in_environment(), _no(Reason.ENVIRONMENT))] if flag.environments else []
        asked = [(self._met(each), _no(Reason.PREREQUISITE, each.feature)) for each in flag.prerequisites]
        held = [(self._test(each), _no(Reason.CONSTRAINT, _words(each))) for each in flag.constraints]
        inside = [(self._inside(name), _no(Reason.SEGMENT, name)) for name in flag.segments]
        return (*environment, *asked, *held, *inside)

    def _in_environment(self) -> Test:
        served, here = self.flag.environments, self.evaluation_context.environment
        read = reader("environment")
        return lambda context, _now: (read(context) or here) in served

    def _test(self, constraint: Constraint) -> Test:
        return compile_constraint(constraint, here=self.evaluation_context.environment)

    def _inside(self, name: str) -> Test:
        segment = self.segments.get(name)
        return _never if segment is None else segment.test

    def _met(self, prerequisite: Prerequisite) -> Test:
        parent = self.known.get(prerequisite.feature)
        if parent is None or (parent.definition.prerequisites and not self.chains):
            return _never
        decide, wanted = parent.decide, prerequisite.enabled
        if not wanted or not prerequisite.variants:
            return lambda context, now: decide(context, now).enabled is wanted
        variants = frozenset(prerequisite.variants)

        def met(context: FlagContext, now: datetime) -> bool:
            decision = decide(context, now)
            return decision.enabled and parent.variant_of(decision, context).name in variants

        return met

    def _serve(self) -> Decide:
        flag = self.flag
        if flag.strategy in {Strategy.PERCENTAGE, Strategy.GRADUAL}:
            return _by_moving_share(flag) if is_moving(flag) else _by_share(flag)
        if flag.strategy is Strategy.WHITELIST:
            return _by_list(flag.whitelist, _LISTED, _UNLISTED)
        if flag.strategy is Strategy.BLACKLIST:
            return _by_list(flag.blacklist, _BARRED, _FREE)
        if flag.strategy is Strategy.RULES:
            return self._by_rules()
        return _always(_ALL_ON if flag.strategy is Strategy.ALL_ON else _ALL_OFF)

    def _by_rules(self) -> Decide:
        if not self.flag.rules:
            return _always(_ALL_ON)
        rules = tuple(
            (
                _all((*map(self._test, rule.constraints), *map(self._inside, dict.fromkeys(rule.segments)))),
                compile_strategy(rule, self.flag.name, self.evaluation_context),
                Decision(enabled=True, reason=Reason.RULE, detail=f"rule {number + 1}: {rule.name}", rule=number),
            )
            for number, rule in enumerate(self.flag.rules)
        )

        def decide(context: FlagContext, now: datetime) -> Decision:
            for lets_pass, serves, decision in rules:
                if lets_pass(context, now) and serves(context):
                    return decision
            return _NO_RULE

        return decide

    def _is_timed(self) -> bool:
        flag = self.flag
        rules = flag.rules if flag.strategy is Strategy.RULES else ()
        named = {*flag.segments, *(name for rule in rules for name in rule.segments)}
        constraints = [*flag.constraints, *(each for rule in rules for each in rule.constraints)]
        asked: list[_Inside | Evaluator] = [
            *(self.segments[name] for name in named if name in self.segments),
            *(self.known[each.feature] for each in flag.prerequisites if each.feature in self.known),
        ]
        return is_moving(flag) or any(map(is_timed, constraints)) or any(each.timed for each in asked)


def _gated(gates: tuple[Gate, ...], serve: Decide) -> Decide:
    if len(gates) == 1:
        ((test, refused),) = gates
        return lambda context, now: serve(context, now) if test(context, now) else refused

    def decide(context: FlagContext, now: datetime) -> Decision:
        for test, refused in gates:
            if not test(context, now):
                return refused
        return serve(context, now)

    return decide


def _always(decision: Decision) -> Decide:
    return lambda _context, _now: decision


def _never(_context: FlagContext, _now: datetime) -> bool:
    return False


def _all(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 1:
        return tests[0]

    def every(context: FlagContext, now: datetime) -> bool:
        for test in tests:  # noqa: SIM110 - all() over a generator takes twice the time
            if not test(context, now):
                return False
        return True

    return every


def _once(test: Test) -> Test:
    """The test, worked out once a decision, however many rules and flags of a chain ask it."""
    last: tuple[FlagContext | None, datetime | None, bool] = (None, None, False)  # replaced whole: threads share it

    def remembered(context: FlagContext, now: datetime) -> bool:
        nonlocal last
        asked, at, answer = last
        if asked is not context or at is not now:
            answer = test(context, now)
            last = context, now, answer
        return answer

    return remembered


def _by_share(flag: FlagDefinition) -> Decide:
    """A share that stays. All and nobody need no sticky id, so that the answer never hangs on chance."""
    served = flag.percentage if flag.strategy is Strategy.PERCENTAGE else 0
    if served >= BUCKETS:
        return _always(_IN_SHARE)
    if served <= 0:
        return _always(_OUTSIDE_SHARE)
    group, read = flag.group_id or flag.name, _sticky(flag)

    def decide(context: FlagContext, _now: datetime) -> Decision:
        held_on = read(context)
        if not held_on:
            return _NO_IDENTITY
        return _IN_SHARE if bucket(group, held_on) <= served else _OUTSIDE_SHARE

    return decide


def _by_moving_share(flag: FlagDefinition) -> Decide:
    group, read = flag.group_id or flag.name, _sticky(flag)

    def decide(context: FlagContext, now: datetime) -> Decision:
        served = share(flag, now)
        if served >= BUCKETS:
            return _IN_SHARE
        if served <= 0:
            return _OUTSIDE_SHARE
        held_on = read(context)
        if not held_on:
            return _NO_IDENTITY
        return _IN_SHARE if bucket(group, held_on) <= served else _OUTSIDE_SHARE

    return decide


def _sticky(flag: FlagDefinition) -> Callable[[FlagContext], str | None]:
    """Whom a percentage holds on: the flag's stickiness, or symbol, user, strategy, system; "" is nobody."""
    if flag.stickiness:
        return reader(flag.stickiness)
    return lambda context: context.symbol or context.user or context.strategy or context.system


def _by_list(entries: frozenset[str], found: Decision, absent: Decision) -> Decide:
    """Entries match any identity of the context exactly."""

    def decide(context: FlagContext, _now: datetime) -> Decision:
        on = (
            context.symbol in entries
            or context.user in entries
            or context.strategy in entries
            or context.system in entries
        )
        return found if on else absent

    return decide


def _no(reason: Reason, detail: str = "") -> Decision:
    return Decision(enabled=False, reason=reason, detail=detail)


def _words(constraint: Constraint) -> str:
    """The constraint for a person: `price NUM_GT 12`, with a NOT in front of an inverted one."""
    limit = constraint.value or ", ".join(constraint.values)
    text = f"{constraint.context_name} {constraint.operator} {limit}".rstrip()
    return f"NOT {text}" if constraint.inverted else text


_DISABLED = _no(Reason.DISABLED)
_KILLED = _no(Reason.KILLED)
_ALL_ON = Decision(enabled=True, reason=Reason.ALL_ON)
_ALL_OFF = _no(Reason.ALL_OFF)
_IN_SHARE = Decision(enabled=True, reason=Reason.IN_SHARE)
_OUTSIDE_SHARE = _no(Reason.OUTSIDE_SHARE)
_NO_IDENTITY = _no(Reason.NO_IDENTITY)
_LISTED = Decision(enabled=True, reason=Reason.LISTED)
_UNLISTED = _no(Reason.NOT_LISTED)
_BARRED = _no(Reason.LISTED)
_FREE = Decision(enabled=True, reason=Reason.NOT_LISTED)
_NO_RULE = _no(Reason.NO_RULE)
