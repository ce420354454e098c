"""Errors of the pipeline; the tree they hang on is `helios.errors`."""

from helios.errors import Ambiguous, DataError, HeliosError, ModelMissing, Rejected, Transient

__all__ = ["Ambiguous", "DataError", "HeliosError", "ModelMissing", "Rejected", "Transient"]
