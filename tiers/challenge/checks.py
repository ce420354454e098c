"""What a stage's module must give: checked right after the call, so that a bad answer is the module's own failure.

Pure. Classes are compared by their fields: a module that was loaded beside the running one brings its own copies.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np

from tiers.contracts import MAX_RISK_MULTIPLIER, BarsByTimeframe, BoolArray, FloatArray, TradingState, shortest
from tiers.contracts.errors import DataError
from tiers.contracts.plans import Plan, client_order_id

SUM_TOLERANCE = 1e-6
LONGEST = {"method": 32, "reason": 64, "provider": 32}  # letters that their columns hold


def checked(tier: Any, stage: str, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """What the tier's `run` gives on these inputs. `DataError` where it is not what the next stages build on."""
    result = tier.run(*inputs, **named)
    if stage == "features":
        return _features(result, tier, inputs[0])
    return CHECKS[stage](result, inputs, named)


def of_ask_model(view: Any) -> Any:
    """The view of a language model, held to what the rules' view is held to."""
    return _llm(view, (), {})


def of_enforce(enforced: Any, risk: Any) -> Any:
    """A risk decision as the view left it. `DataError` where more than its leverage changed, or that too far."""
    _fields("llm", enforced, "symbols", "sigma", "expected_return", "size", "max_weight", "leverage", "state")
    _same_symbols("llm", enforced.symbols, risk.symbols)
    for name in ("sigma", "expected_return", "size", "max_weight"):
        if not np.array_equal(getattr(enforced, name), getattr(risk, name), equal_nan=True):
            raise DataError(f"llm may change the leverage of a risk decision and nothing else, it changed its {name}")
    bound = max(risk.leverage, 1.0) if risk.state == TradingState.ACTIVE else risk.leverage
    if str(enforced.state) != str(risk.state) or not 0.0 <= enforced.leverage <= bound:
        raise DataError(
            f"llm must leave the state {risk.state} and give a leverage from 0 to {bound}, were "
            f"{enforced.state} and {enforced.leverage}"
        )
    return enforced


def _ingest(result: Any, _inputs: tuple[Any, ...], _named: dict[str, Any]) -> Any:
    _fields("ingest", result, "accepted", "higher", "missing", "problems")
    return result


def _features(result: Any, tier: Any, bars: BarsByTimeframe) -> FloatArray:
    own = shortest(bars)
    return _floats("features", result, (*own.close.shape, len(tier.feature_set(own.timeframe).columns)))


def _predict(result: Any, inputs: tuple[Any, ...], _named: dict[str, Any]) -> FloatArray:
    """Rows are missing as a whole, or probabilities that sum to 1."""
    values = _floats("predict", result, (*inputs[1].shape[:2], 3))
    known: BoolArray = np.asarray(np.isfinite(values).all(axis=2))
    if not (known | np.isnan(values).all(axis=2)).all():
        raise DataError("predict must give rows of probabilities or rows of NaN, some were neither")
    rows = values[known]
    if (rows < 0.0).any() or (rows > 1.0).any():
        raise DataError(f"predict must give probabilities from 0 to 1, was {rows.min():g} to {rows.max():g}")
    if len(rows) and float(np.abs(rows.sum(axis=1) - 1.0).max()) > SUM_TOLERANCE:
        raise DataError("predict must give probabilities that sum to 1, some did not")
    return values


def _risk(result: Any, _inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    symbols = named["book"].symbols
    _fields("risk", result, "symbols", "sigma", "expected_return", "size", "max_weight", "leverage", "state", "denials")
    _same_symbols("risk", result.symbols, symbols)
    for name in ("sigma", "expected_return", "size", "max_weight"):
        _floats(f"{name} of risk", getattr(result, name), (len(symbols),))
    for name in ("size", "max_weight", "leverage"):
        values = np.asarray(getattr(result, name))
        if not np.isfinite(values).all() or (values < 0.0).any():
            raise DataError(f"{name} of risk must be finite and at least 0, was {values.tolist()}")
    if not np.isfinite(result.expected_return).all():
        raise DataError("expected_return of risk must be finite, some of it was not")
    if result.state not in list(TradingState):
        raise DataError(f"state of risk must be one of {', '.join(TradingState)}, was {result.state!r}")
    return result


def _llm(result: Any, _inputs: tuple[Any, ...], _named: dict[str, Any]) -> Any:
    _fields("llm", result, "bar_ts", "provider", "stance", "conviction", "risk_multiplier", "reasoning")
    if not 0.0 <= result.conviction <= 1.0 or not 0.0 <= result.risk_multiplier <= MAX_RISK_MULTIPLIER:
        raise DataError(
            f"llm must give a conviction from 0 to 1 and a multiplier from 0 to {MAX_RISK_MULTIPLIER}, were "
            f"{result.conviction} and {result.risk_multiplier}"
        )
    _short("llm", result, "provider")
    return result


def _portfolio(result: Any, _inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
    symbols = named["book"].symbols
    _fields("portfolio", result, "symbols", "weights", "previous", "turnover", "method", "reason", "denials")
    _same_symbols("portfolio", result.symbols, symbols)
    weights = _floats("weights of portfolio", result.weights, (len(symbols),))
    if not np.isfinite(weights).all():
        raise DataError("weights of portfolio must be finite, some were not")
    _short("portfolio", result, "method", "reason")
    return result


def _execute(result: Any, _inputs: tuple[Any, ...], named: dict[str, Any]) -> Plan:
    symbols, bar_ts = named["book"].symbols, named["targets"].bar_ts
    _fields("execute", result, "intents", "denials")
    seen: set[str] = set()
    for intent in result.intents:
        _fields("an order of execute", intent, "client_order_id", "symbol", "side", "quantity", "reference_price")
        if intent.symbol not in symbols or intent.symbol in seen:
            raise DataError(
                f"execute must give one order at most for each symbol of the book, {intent.symbol!r} broke it"
            )
        identity = client_order_id(named["key"], bar_ts, intent.symbol, intent.side)
        if intent.client_order_id != identity:
            raise DataError(
                f"an order must have the id of its decision, {identity}, was {intent.client_order_id!r:.99}"
            )
        if not intent.quantity.is_finite() or intent.quantity <= 0:
            raise DataError(f"the quantity of an order must be above 0, was {intent.quantity} {intent.symbol}")
        if not isinstance(intent.reference_price, Decimal) or not intent.reference_price > 0:
            raise DataError(f"the price of an order must be a decimal above 0, was {intent.reference_price!r:.99}")
        seen.add(intent.symbol)
    return Plan(intents=tuple(result.intents), denials=tuple(result.denials))


CHECKS: dict[str, Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]] = {
    "ingest": _ingest,
    "predict": _predict,
    "risk": _risk,
    "llm": _llm,
    "portfolio": _portfolio,
    "execute": _execute,
}


def _fields(what: str, result: Any, *names: str) -> None:
    missing = [name for name in names if not hasattr(result, name)]
    if missing:
        raise DataError(f"{what} must have {', '.join(missing)}, was {type(result).__name__} without")


def _short(what: str, result: Any, *names: str) -> None:
    for name in names:
        text = getattr(result, name)
        if not isinstance(text, str) or len(text) > LONGEST[name]:
            raise DataError(f"{name} of {what} must be a text of at most {LONGEST[name]} letters, was {text!r:.99}")


def _floats(what: str, values: Any, shape: tuple[int, ...]) -> FloatArray:
    if not isinstance(values, np.ndarray) or values.shape != shape or values.dtype != np.float64:
        seen = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{what} must be float64 {shape}, was {seen}")
    return values


def _same_symbols(what: str, seen: Any, symbols: tuple[str, ...]) -> None:
    if tuple(seen) != tuple(symbols):
        raise DataError(f"{what} must speak of {symbols}, was {seen}")
