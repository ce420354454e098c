"""Which model serves a timeframe."""

from __future__ import annotations

from helios.errors import ModelMissing
from trading.models import MLModel


def champion(timeframe: str) -> MLModel:
    """The model in charge of a timeframe. Raises: ModelMissing with the command that makes one."""
    model = MLModel.objects.filter(timeframe=timeframe, role=MLModel.Role.CHAMPION).first()
    if model is None:
        raise ModelMissing(
            f"no trained model for timeframe {timeframe}: run `python manage.py train --timeframe {timeframe}`"
        )
    return model


def challenger(timeframe: str) -> MLModel | None:
    """The model that is being tried on a timeframe, None where there is none."""
    return MLModel.objects.filter(timeframe=timeframe, role=MLModel.Role.CHALLENGER).first()


def in_service(timeframe: str) -> list[MLModel]:
    """Champion and challenger of a timeframe, as far as there are any."""
    return list(MLModel.objects.filter(timeframe=timeframe, role__in=[MLModel.Role.CHAMPION, MLModel.Role.CHALLENGER]))
