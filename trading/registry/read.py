"""Which model serves a timeframe, and where it lies."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from django.conf import settings
from django.db.models import Q

from helios.db import statements
from helios.errors import ModelMissing
from trading.models import Book, MLModel


def champion(timeframe: str, feature_set: str, feature_version: str) -> MLModel:
    """The model in charge of a timeframe on that set of features.

    Raises: ModelMissing with the command that makes one, and with the sets that there are models of.
    """
    model = _in_role(MLModel.Role.CHAMPION, timeframe, feature_set, feature_version)
    if model is None:
        others = sorted({f"{each.feature_set} {each.feature_version}" for each in in_service(timeframe)})
        wanted = f" on features {feature_set} {feature_version}, there is one on {', '.join(others)}" if others else ""
        raise ModelMissing(
            f"no trained model for timeframe {timeframe}{wanted}: run `python manage.py train --timeframe {timeframe}`"
        )
    return model


def challenger(timeframe: str, feature_set: str, feature_version: str) -> MLModel | None:
    """The model that is being tried on a timeframe and a set of features, None where there is none."""
    return _in_role(MLModel.Role.CHALLENGER, timeframe, feature_set, feature_version)


def _in_role(role: MLModel.Role, timeframe: str, feature_set: str, feature_version: str) -> MLModel | None:
    where = "t.role = %s AND t.timeframe = %s AND t.feature_set = %s AND t.feature_version = %s ORDER BY t.id"
    return next(iter(statements.select(MLModel, where, [role, timeframe, feature_set, feature_version])), None)


def in_service(timeframe: str) -> list[MLModel]:
    """Champions and challengers of a timeframe, of every set of features."""
    where = "t.timeframe = %s AND t.role = ANY(%s) ORDER BY t.id"
    return statements.select(MLModel, where, [timeframe, [MLModel.Role.CHAMPION, MLModel.Role.CHALLENGER]])


def all_in_service() -> list[MLModel]:
    """Champions and challengers of every timeframe, and what an active book is pinned to."""
    pinned = Book.objects.filter(active=True).exclude(model_name="").values("model_name")
    serving = Q(role__in=[MLModel.Role.CHAMPION, MLModel.Role.CHALLENGER])
    return list(MLModel.objects.filter(serving | Q(name__in=pinned)))


def folder_of(model: MLModel) -> Path:
    """The model's folder below this process's var/. `ModelMissing` where its row names one elsewhere."""
    if not lies_below(model.path):
        raise ModelMissing(
            f"the folder of model {model.name} must be relative to var/ and below it, was {model.path!r}"
        )
    return Path(settings.VAR_DIR) / model.path


def lies_below(path: str) -> bool:
    """Whether a path is relative and leads nowhere up."""
    parts = PurePosixPath(path).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts
