"""The two arms of a rollout beside each other, with what is certain about them, and how far it has come."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from helios.errors import UNREAD, error_text
from helios.rollouts import describe, providers
from helios.rollouts.core.arm_summary import arm_numbers
from helios.rollouts.core.assignment import Arm, Mode
from helios.rollouts.core.machine import SERVING
from helios.rollouts.models import Rollout, RolloutAnalysis
from helios.rollouts.selectors import step_of, steps_of

Row = tuple[str, str, str, str]


def report(row: Rollout) -> dict[str, Any]:
    """Everything a person or a program wants to know of a rollout, as JSON.

    `arms` are measured now while cycles serve it; else they are those of the last analysis, or null. A replay is
    not run again for a report.
    """
    arms, measured_at, problem = _arms(row)
    return {
        **state(row),
        "guards": row.guards,
        "steps": [{**each.to_json(), "serves": each.serves} for each in steps_of(row)],
        "arms": arms,
        "measured_at": measured_at,
        "problem": problem,
        "analyses": [analysis(each) for each in row.analyses.all()[:10]],
    }


def state(row: Rollout) -> dict[str, Any]:
    """Where a rollout stands, as JSON, without measuring anything."""
    return {
        **_of(row, "id", "name", "description", "kind", "target", "champion", "challenger", "params", "books"),
        **_of(row, "state", "step"),
        "n_steps": len(row.steps),
        "percentage": step_of(row).percentage,
        "progress": describe.progress(row),
        "serves": describe.serves(row),
        **_of(row, "cause", "reason"),
        "inconclusive": f"{row.n_inconclusive} of {row.inconclusive_limit}",
        "errors": f"{row.n_errors} of {row.error_limit}",
        **_of(row, "version", "actor"),
        **{name: _moment(getattr(row, name)) for name in ("created_at", "started_at", "next_analysis_at", "ended_at")},
    }


def analysis(row: RolloutAnalysis) -> dict[str, Any]:
    """One analysis, as JSON."""
    return {"at": _moment(row.at), **_of(row, "step", "verdict", "hard", "reason", "numbers")}


def _of(row: Rollout | RolloutAnalysis, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def table(arms: dict[str, Any] | None) -> list[Row]:
    """The A/B table: a line a figure, a column an arm, and the difference of the means."""
    if not arms:
        return []
    champion, challenger = arms[Arm.CHAMPION.value], arms[Arm.CHALLENGER.value]
    difference = arms["difference"]
    return [
        _counts("decisions", champion, challenger, "decisions"),
        *_seen(champion, challenger),
        _means("PnL net of cost, bps a decision", champion, challenger, "pnl_bps", difference["pnl_bps"]),
        _means("log loss", champion, challenger, "log_loss", difference["log_loss"]),
        _counts("latency p50, ms", champion, challenger, "latency_p50_ms"),
        _counts("latency p95, ms", champion, challenger, "latency_p95_ms"),
        _counts("exceptions", champion, challenger, "exceptions"),
        _means("exception rate", champion, challenger, "exception_rate", None),
        _counts("orders", champion, challenger, "orders"),
        _counts("orders rejected", champion, challenger, "orders_rejected"),
        _counts("exposure", champion, challenger, "exposure"),
        _counts("drawdown", champion, challenger, "drawdown"),
    ]


def _arms(row: Rollout) -> tuple[dict[str, Any] | None, str | None, str]:
    """The arms' numbers, when they were measured, and why they could not be."""
    last = row.analyses.first()
    problem = ""
    if row.state in SERVING and step_of(row).kind is not Mode.REPLAY:
        try:
            return arm_numbers(providers.measure(row)), _moment(timezone.now()), ""
        except Exception as error:  # noqa: BLE001 - a report says so and shows what was known last
            problem = f"no measures: {error_text(error)}"
    if last is None or not last.numbers.get("arms"):
        return None, None, problem
    kept = kept_arms(last)
    return kept, _moment(last.at), problem if kept else "the numbers of the last analysis are not those of two arms"


def kept_arms(analysis: RolloutAnalysis) -> dict[str, Any] | None:
    """The arms' numbers of an analysis; None where it has none, or such as nobody can read: a worker writes them."""
    kept: dict[str, Any] | None = analysis.numbers.get("arms")
    try:
        table(kept or {})
    except UNREAD:
        return None
    return kept


def _counts(title: str, champion: dict[str, Any], challenger: dict[str, Any], key: str) -> Row:
    return title, formatted(champion[key]), formatted(challenger[key]), ""


def _seen(champion: dict[str, Any], challenger: dict[str, Any]) -> list[Row]:
    """A line where there are such bars; analyses that were kept before they were counted say nothing of them."""
    key = "bars_seen_in_training"
    return [_counts("bars seen in training", champion, challenger, key)] if champion.get(key) else []


def _means(title: str, champion: dict[str, Any], challenger: dict[str, Any], key: str, difference: Any) -> Row:
    return title, _interval(champion[key]), _interval(challenger[key]), _interval(difference, signed=True)


def _interval(value: dict[str, Any] | None, *, signed: bool = False) -> str:
    if value is None:
        return "" if signed else "-"
    sign = "+" if signed else ""
    low, high = formatted(value["low"], sign), formatted(value["high"], sign)
    return f"{formatted(value['estimate'], sign)} ({low} to {high})"


def formatted(value: float | None, sign: str = "") -> str:
    """A number with four digits, or a dash for none."""
    if value is None:
        return "-"
    return f"{value}" if isinstance(value, int) else f"{value:{sign}.4g}"


def _moment(value: Any) -> str | None:
    return value.isoformat() if value else None
