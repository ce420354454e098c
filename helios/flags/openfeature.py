"""An OpenFeature provider over the flags of this process (openfeature.dev, specification section 2).

    from openfeature import api
    from helios.flags.openfeature import HeliosProvider

    api.set_provider(HeliosProvider())
    api.get_client().get_boolean_value("neural_network_v2", False, EvaluationContext(attributes={"symbol": "AAPL"}))

A boolean is whether the flag is on; the other types are payloads of its variant. The targeting key is the user.
Evaluation reads the snapshot: no lock, no I/O after `initialize`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from helios import flags
from helios.flags.core.context import ALIASES, FIELDS, as_text
from helios.flags.core.definition import Reason as DecisionReason
from helios.flags.core.parts import Payload

Value = TypeVar("Value")
Object = Sequence[Any] | Mapping[str, Any]
NAME: Final = "Helios"
_REASONS: Final[Mapping[DecisionReason, Reason]] = {
    DecisionReason.DISABLED: Reason.DISABLED,
    DecisionReason.KILLED: Reason.DISABLED,
    DecisionReason.ALL_ON: Reason.STATIC,
    DecisionReason.ALL_OFF: Reason.STATIC,
    DecisionReason.IN_SHARE: Reason.SPLIT,
    DecisionReason.OUTSIDE_SHARE: Reason.SPLIT,
}


class WrongTypeError(Exception):
    """The payload is of another type than the one that was asked for."""


class HeliosProvider(AbstractProvider):
    """Answers the OpenFeature API from this process's snapshot, and tells its events."""

    def __init__(self) -> None:
        super().__init__()
        self._quit: list[Callable[[], None]] = []

    def get_metadata(self) -> Metadata:
        """The provider's name."""
        return Metadata(name=NAME)

    def initialize(self, evaluation_context: EvaluationContext) -> None:  # noqa: ARG002 - OpenFeature's signature
        """Read the flags, and follow their changes in this process from now on."""
        self.shutdown()
        flags.snapshot()
        flags.start_listener()
        self._quit = [flags.on_change(self._changed), flags.on_staleness(self._aged)]

    def shutdown(self) -> None:
        """Follow no more; the process goes on listening for its own sake."""
        while self._quit:
            self._quit.pop()()

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Whether the flag is on."""
        decision = flags.explain(flag_key, context_of(evaluation_context))
        if decision.reason is DecisionReason.UNKNOWN:
            return _unknown(flag_key, default_value)
        return FlagResolutionDetails(
            value=decision.enabled,
            reason=_reason(decision),
            variant="on" if decision.enabled else "off",
            flag_metadata=_facts(),
        )

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """The variant's payload as it is written."""
        return _resolve(flag_key, default_value, evaluation_context, _text)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """The variant's payload of type number, which must be a whole one."""
        return _resolve(flag_key, default_value, evaluation_context, _whole)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """The variant's payload of type number."""
        return _resolve(flag_key, default_value, evaluation_context, _number)

    def resolve_object_details(
        self, flag_key: str, default_value: Object, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Object]:
        """The variant's payload of type json, an object or a list; of type csv, a list of texts."""
        return _resolve(flag_key, default_value, evaluation_context, _object)

    def _changed(self, names: frozenset[str]) -> None:
        facts = _facts()
        self.emit_provider_configuration_changed(
            ProviderEventDetails(flags_changed=sorted(names), metadata={"generation": facts["generation"]})
        )

    def _aged(self, stale: bool) -> None:
        if stale:
            self.emit_provider_stale(ProviderEventDetails(message="a newer state of the flags may exist"))
        else:
            self.emit_provider_ready(ProviderEventDetails(message="the flags are current again"))


def context_of(given: EvaluationContext | None) -> flags.FlagContext:
    """The context in Helios's terms: known attributes become fields, the others stay attributes, all as text."""
    if given is None:
        return flags.FlagContext()
    attributes = {key: _as_text(value) for key, value in given.attributes.items() if value is not None}
    own = {ALIASES.get(key, key): value for key, value in attributes.items() if ALIASES.get(key, key) in FIELDS}
    if given.targeting_key:
        own["user"] = given.targeting_key
    others = {key: value for key, value in attributes.items() if ALIASES.get(key, key) not in FIELDS}
    return flags.FlagContext(**own, attributes=others)


def _resolve(
    flag_key: str, default: Value, given: EvaluationContext | None, read: Callable[[Payload], Value]
) -> FlagResolutionDetails[Value]:
    context = context_of(given)
    decision = flags.explain(flag_key, context)
    if decision.reason is DecisionReason.UNKNOWN:
        return _unknown(flag_key, default)
    answer = flags.variant(flag_key, context)
    if not answer.enabled:
        reason = _reason(decision) if not decision.enabled else Reason.DEFAULT
        return FlagResolutionDetails(value=default, reason=reason, variant=answer.name, flag_metadata=_facts())
    try:
        value = read(_payload(answer))
    except WrongTypeError as error:
        return _failed(default, ErrorCode.TYPE_MISMATCH, f"{flag_key}: {error}", answer.name)
    except ValueError as error:
        return _failed(default, ErrorCode.PARSE_ERROR, f"{flag_key}: {error}", answer.name)
    split = Reason.STALE if flags.snapshot().stale else Reason.SPLIT
    return FlagResolutionDetails(value=value, reason=split, variant=answer.name, flag_metadata=_facts())


def _payload(answer: flags.VariantResult) -> Payload:
    if answer.payload is None:
        raise WrongTypeError(f"a variant must carry a payload to have a value, {answer.name} does not")
    return answer.payload


def _text(payload: Payload) -> str:
    if payload.type not in {"string", "csv"}:
        raise WrongTypeError(f"a payload must be of type string to be a text, was {payload.type}")
    return payload.value


def _number(payload: Payload) -> float:
    if payload.type != "number":
        raise WrongTypeError(f"a payload must be of type number to be a number, was {payload.type}")
    try:
        return float(payload.value)
    except ValueError:
        raise ValueError(f"a payload of type number must hold a number, was {payload.value!r}") from None


def _whole(payload: Payload) -> int:
    number = _number(payload)
    if not number.is_integer():
        raise WrongTypeError(f"a payload must be a whole number, was {payload.value}")
    return int(payload.value) if payload.value.strip().lstrip("+-").isdecimal() else int(number)


def _object(payload: Payload) -> Object:
    if payload.type == "csv":
        return next(csv.reader([payload.value]), [])
    if payload.type != "json":
        raise WrongTypeError(f"a payload must be of type json or csv to be an object, was {payload.type}")
    try:
        value = json.loads(payload.value)
    except ValueError:
        raise ValueError(f"a payload of type json must hold JSON, was {payload.value!r}") from None
    if not isinstance(value, dict | list):
        raise WrongTypeError(f"a payload must hold an object or a list, was {payload.value}")
    return value


def _reason(decision: flags.Decision) -> Reason:
    """OpenFeature's word for why; `STALE` while a newer state may exist."""
    if flags.snapshot().stale:
        return Reason.STALE
    return _REASONS.get(decision.reason, Reason.TARGETING_MATCH)


def _facts() -> dict[str, bool | int | float | str]:
    snapshot = flags.snapshot()
    return {"generation": snapshot.generation, "stale": snapshot.stale}


def _unknown(flag_key: str, default: Value) -> FlagResolutionDetails[Value]:
    return _failed(default, ErrorCode.FLAG_NOT_FOUND, f"a flag's name must be a known one, was {flag_key!r}", None)


def _failed(default: Value, code: ErrorCode, message: str, variant: str | None) -> FlagResolutionDetails[Value]:
    return FlagResolutionDetails(
        value=default, reason=Reason.ERROR, error_code=code, error_message=message, variant=variant
    )


def _as_text(value: object) -> str:
    """A value of a context; objects and lists as JSON."""
    return json.dumps(value, default=str) if isinstance(value, dict | list | tuple) else as_text(value)
