"""Errors of the pipeline; the tree they hang on is `helios.errors`."""

from helios.errors import Ambiguous, HeliosError, Rejected, Transient


class DataError(Rejected):
    """Input that breaks a rule; names the row and the column where there is one."""


class ModelMissing(Rejected):
    """No trained model fits the request."""


__all__ = ["Ambiguous", "DataError", "HeliosError", "ModelMissing", "Rejected", "Transient"]
