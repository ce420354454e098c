"""What came of a backtest, with what the tables know of its models and modules: in sentences and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from helios.modules.catalog import SHIPPED
from helios.modules.loading import ActiveModule
from tiers.backtest import presentation
from tiers.backtest.engine import Result
from tiers.backtest.evidence import MIN_BARS, Evidence
from tiers.contracts import Switches
from trading.books.accounting import Booked
from trading.models import MLModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A result with what the tables know of its models and flags."""

    result: Result
    elapsed_s: float = 0.0
    models: Mapping[MLModel, tuple[str, ...]] = field(default_factory=dict)  # that served, with their symbols
    switches: Switches | None = None
    evidence: Evidence | None = None  # of the models that served, on the bars that none of them saw
    modules: Mapping[str, ActiveModule] = field(default_factory=dict)  # that stood for the tiers
    own: Mapping[str, Any] = field(default_factory=dict)  # parameters in the place of the usual ones

    @property
    def labels(self) -> dict[MLModel, str]:
        """What the sentences call each model: its name, with its symbols where there are several models."""
        alone = len(self.models) == 1
        return {
            model: model.name if alone else f"{model.name} ({', '.join(served)})"
            for model, served in self.models.items()
        }

    @property
    def versions(self) -> dict[str, str]:
        """The labels of the modules by tier."""
        return {name: one.version for name, one in self.modules.items()}

    @property
    def says(self) -> list[str]:
        """What the figures say of the models, in sentences; none where there is no model."""
        if not self.models:
            return []
        own = ", ".join(f"{name} {value}" for name, value in presentation.flattened(self.own))
        told = [f"Parameters in the place of the usual ones: {own}."] if own else []
        return [*told, *self._by_others(), *self._of_models()]

    def _by_others(self) -> list[str]:
        shipped = {one.path for one in SHIPPED}
        others = [
            f"{name} is {one.path} {one.version}" for name, one in self.modules.items() if one.path not in shipped
        ]
        if not others:
            return []
        told = f"Not all tiers were those that Helios ships: {', '.join(others)}. These figures are that code's, too"
        return [
            f"{told}, also where they are said of a model, and on which bars it was made nobody knows but its author."
        ]

    def _of_models(self) -> list[str]:
        together = " and ".join(self.labels.values())
        if self.evidence is not None:
            several = [f"What is said of this model is said of several together: {together}."]
            return [*several[: len(self.models) - 1], *self.evidence.says]
        unseen = len(self.result.run.ts) - self.result.n_seen
        told = (
            f"Nothing is said of what {together} knows: that takes a card of its training and, behind that, "
            f"{MIN_BARS} bars on which it spoke and whose outcome is known. Bars here behind its training: {unseen:,}."
        )
        return [told]

    @property
    def out_of_sample(self) -> bool | None:
        """Whether the figures that lead are of bars that no model was trained on; None where there is no model."""
        return None if self.result.trained_until is None else not self.result.in_sample

    @property
    def sample_note(self) -> list[str]:
        """Which bars the figures are of, in a sentence; none where there is no model."""
        trained = {label: model.trained_to for model, label in self.labels.items()}
        return [presentation.sample_note(self.result, trained)] if trained else []

    def to_json(self) -> dict[str, Any]:
        """The result as one JSON object; a figure without a value is null."""
        result, lead = self.result, self.result.lead
        (_, figures), *beside = presentation.columns(result).items()
        return {
            "strategy": result.strategy,
            "symbols": list(result.symbols),
            "timeframe": result.timeframe,
            "start": result.start.isoformat(),
            "end": result.end.isoformat(),
            **figures,
            "elapsed_s": round(self.elapsed_s, 3),
            "seed": result.seed,
            "model": ", ".join(model.name for model in self.models) or None,
            "models": {model.name: list(symbols) for model, symbols in self.models.items()},
            "modules": self.versions,
            "params": lead.params,
            "cash": float(lead.initial.cash),
            "costs_bps": {"fee": float(lead.costs.fee_bps), "slippage": float(lead.costs.slippage_bps)},
            "out_of_sample": self.out_of_sample,
            "figures_from": lead.start.isoformat(),
            "beside": dict(beside),
            "evidence": None if self.evidence is None else self.evidence.to_json(),
            "says": [*self.sample_note, *self.says],
            "reasons": list(lead.reasons),
            "refused": dict(lead.run.denials.most_common()),
            "states": dict(Counter(state.value for state in lead.run.states)),
            "halted_from": lead.run.halted_from.isoformat() if lead.run.halted_from else None,
            "actions": [_booked(each) for each in lead.run.all_booked],
            "cancelled": dict(lead.run.cancelled_by_symbol.most_common()),
            "currency": result.currency or None,
        }


def _booked(each: Booked) -> dict[str, Any]:
    return {
        "symbol": each.symbol,
        "action": str(each.action),
        "at": each.bar_ts.isoformat(),
        "quantity": [float(each.quantity), float(each.remaining)],
        "cash": float(each.cash),
    }
