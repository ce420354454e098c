"""Errors of the pipeline; the tree they hang on is `helios.errors`."""

from helios.errors import UNREAD, Ambiguous, DataError, HeliosError, ModelMissing, Rejected, Transient

__all__ = ["UNREAD", "Ambiguous", "DataError", "HeliosError", "ModelMissing", "Rejected", "Transient"]
