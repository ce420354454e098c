"""The model registry: which artifacts exist, and which of them serves a timeframe."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from helios import events
from helios.errors import Rejected
from trading.models import MLModel
from trading.registry.read import lies_below

Role = MLModel.Role


def register_model(card: Mapping[str, Any], *, path: str, role: str | None = None) -> MLModel:
    """Register an artifact by its card, and give it its role; the model that had the role is archived.

    Without a role a model becomes the champion of its timeframe, set of features and symbols, except that a challenger
    stays one. The same name again renews the row. `path` is relative to var/. `Rejected` for an unknown role or another
    path.
    """
    wanted = role or _role_without_a_word(card["name"])
    if wanted not in Role.values:
        raise Rejected(f"role must be one of {', '.join(Role.values)}, was {wanted!r}")
    if not lies_below(path):
        raise Rejected(f"path of model {card['name']} must be relative to var/ and stay below it, was {path!r}")
    with transaction.atomic():
        alike = {name: card[name] for name in ("timeframe", "feature_set", "feature_version")}
        alike["symbols"] = sorted(card["symbols"])
        held = MLModel.objects.select_for_update().filter(**alike, role=wanted)
        if wanted != Role.ARCHIVED:
            for other in held.exclude(name=card["name"]):
                other.role = Role.ARCHIVED
                other.save(update_fields=["role"])
        model, created = MLModel.objects.update_or_create(
            name=card["name"],
            defaults={
                "preset": card["preset"],
                "role": wanted,
                **alike,
                "horizon_bars": card["horizon_bars"],
                "seed": card["seed"],
                "path": path,
                "weights_sha256": card["weights_sha256"],
                "artifact_sha256": card["artifact_sha256"],
                "card": dict(card),
                "metrics": card["metrics"],
                "trained_from": datetime.fromisoformat(card["trained_from"]),
                "trained_to": datetime.fromisoformat(card["trained_to"]),
            },
        )
        events.record(
            kind="model.registered" if created else "model.renewed",
            source="trading.models",
            subject=model.name,
            data={"role": wanted, "artifact_sha256": model.artifact_sha256},
        )
    return model


def _role_without_a_word(name: str) -> str:
    """A challenger trained again stays one: only a role that somebody names may put it in charge."""
    known = registered(name)
    return Role.CHALLENGER if known is not None and known.role == Role.CHALLENGER else Role.CHAMPION


def registered(name: str) -> MLModel | None:
    """The model of this name, None when there is none."""
    return MLModel.objects.filter(name=name).first()
