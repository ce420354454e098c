"""What a flag is and when it is on: pure functions of a definition, a context and a moment.

This is the front of the core; its rooms are `definition`, `parts`, `context`, `constraints`, `buckets`, `activation`,
`variants`, `graph` and `evaluation`. None of them knows Django, Redis, a clock or a source of chance.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from helios.flags.core.buckets import bucket, share, sticky_id
from helios.flags.core.context import FIELDS, IDENTITIES, NOBODY, FlagContext
from helios.flags.core.definition import (
    BUCKETS,
    NAME,
    UNKNOWN,
    Decision,
    FlagDefinition,
    Reason,
    Strategy,
    check_product,
)
from helios.flags.core.evaluation import Evaluator, compile_flags, constant
from helios.flags.core.evaluation_context import NOWHERE, EvaluationContext
from helios.flags.core.parts import (
    Constraint,
    Operator,
    Override,
    Payload,
    Prerequisite,
    Rule,
    ScheduleStep,
    Segment,
    Variant,
    VariantResult,
)

__all__ = [
    "BUCKETS",
    "FIELDS",
    "IDENTITIES",
    "NAME",
    "NOBODY",
    "NOWHERE",
    "UNKNOWN",
    "Constraint",
    "Decision",
    "EvaluationContext",
    "Evaluator",
    "FlagContext",
    "FlagDefinition",
    "Operator",
    "Override",
    "Payload",
    "Prerequisite",
    "Reason",
    "Rule",
    "ScheduleStep",
    "Segment",
    "Strategy",
    "Variant",
    "VariantResult",
    "bucket",
    "check_product",
    "compile_flags",
    "constant",
    "evaluate",
    "share",
    "sticky_id",
]
_NO_FLAGS: Mapping[str, FlagDefinition] = MappingProxyType({})
_NO_SEGMENTS: Mapping[str, Segment] = MappingProxyType({})


def evaluate(
    flag: FlagDefinition,
    context: FlagContext,
    now: datetime,
    *,
    others: Mapping[str, FlagDefinition] = _NO_FLAGS,
    segments: Mapping[str, Segment] = _NO_SEGMENTS,
    evaluation_context: EvaluationContext = NOWHERE,
) -> Decision:
    """Whether the flag is on for this context at `now` (UTC), and why; `others` are the flags that it may ask.

    Whoever evaluates often keeps the evaluators of `compile_flags` instead: this compiles every time.
    A percentage of 100 serves everybody and 0 nobody; between them a context without a sticky id is off,
    so that the answer never hangs on chance. List entries match any identity of the context exactly.
    """
    return compile_flags({**others, flag.name: flag}, segments, evaluation_context)[flag.name].decide(context, now)
