"""Which model serves which symbols of a timeframe, and where it lies.

A model serves the asset classes that it was trained on, and no other. Of several that may, the one that saw most of the
symbols in its training does, of these the one that saw the fewest others, then the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from django.conf import settings
from django.db.models import Q

from helios.db import statements
from helios.errors import ModelMissing
from trading.models import Book, MLModel

_SAME_CLASSES = """
NOT EXISTS (
    SELECT FROM instruments i WHERE i.symbol = ANY(%s::text[])
    AND i.asset_class <> ALL (SELECT asset_class FROM instruments WHERE symbol = ANY(t.symbols))
)
"""
_IN_ROLE = f"""
t.role = %s AND t.timeframe = %s AND t.feature_set = %s AND t.feature_version = %s AND {_SAME_CLASSES}
ORDER BY cardinality(ARRAY(SELECT unnest(t.symbols) INTERSECT SELECT unnest(%s::text[]))) DESC,
    cardinality(t.symbols), t.id DESC LIMIT 1
"""


def champion(timeframe: str, feature_set: str, feature_version: str, symbols: Sequence[str]) -> MLModel:
    """The model in charge of these symbols at a timeframe, on that set of features.

    Raises: ModelMissing with the command that makes one, and with what there are models of.
    """
    model = _in_role(MLModel.Role.CHAMPION, timeframe, feature_set, feature_version, symbols)
    if model is None:
        wanted, there = ", ".join(symbols), in_service(timeframe)
        others = sorted({f"{each.feature_set} {each.feature_version}" for each in there})
        trained = sorted({", ".join(each.symbols) for each in there})
        why = ""
        if f"{feature_set} {feature_version}" in others:
            why = f" and the asset class of {wanted}, there is one of {' and one of '.join(trained)}"
        elif others:
            why = f" on features {feature_set} {feature_version}, there is one on {', '.join(others)}"
        raise ModelMissing(
            f"no trained model for timeframe {timeframe}{why}: "
            f"run `python manage.py train --timeframe {timeframe} --symbols {','.join(symbols)}`"
        )
    return model


def challenger(timeframe: str, feature_set: str, feature_version: str, symbols: Sequence[str]) -> MLModel | None:
    """The model that is being tried on these symbols at a timeframe and a set of features, None where there is none."""
    return _in_role(MLModel.Role.CHALLENGER, timeframe, feature_set, feature_version, symbols)


def _in_role(
    role: MLModel.Role, timeframe: str, feature_set: str, feature_version: str, symbols: Sequence[str]
) -> MLModel | None:
    values = [role, timeframe, feature_set, feature_version, list(symbols), list(symbols)]
    return next(iter(statements.select(MLModel, _IN_ROLE, values)), None)


def refuse_other_classes(model: MLModel, symbols: Sequence[str]) -> None:
    """`ModelMissing` for a model that was trained on no symbol of the asset class of one of these."""
    if not statements.select(MLModel, f"t.id = %s AND {_SAME_CLASSES}", [model.pk, list(symbols)]):
        raise ModelMissing(
            f"model {model.name} must have been trained on the asset classes of {', '.join(symbols)}, "
            f"it was trained on {', '.join(model.symbols)}"
        )


def unseen(model: MLModel, symbols: Sequence[str]) -> str:
    """A sentence on the symbols that the model's training did not have, empty where it had all."""
    absent = [symbol for symbol in symbols if symbol not in model.symbols]
    if not absent:
        return ""
    return f"{model.name} never saw {', '.join(absent)}: it was trained on {', '.join(model.symbols)}."


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
