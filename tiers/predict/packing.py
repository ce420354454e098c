"""From the common timeline to each symbol's own rows and back: what the network sees is never a gap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tiers.contracts import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Own rows of each symbol, moved up so that they follow one another; (n_rows, n_symbols, ...) throughout.

    A row is a symbol's own when any of its features is known. `values` is 0 where a feature is missing; `ready`
    says where the last `receptive_bars` own rows are complete; `row` is the row's place on the common timeline,
    -1 behind a symbol's last one.
    """

    values: FloatArray
    ready: BoolArray
    row: npt.NDArray[np.int64]

    def place(self, name: npt.NDArray[np.generic], *, outside: float) -> npt.NDArray[np.generic]:
        """An array of the common timeline (n_bars, n_symbols) in this order; `outside` behind the last row."""
        symbols = np.arange(self.row.shape[1])[None, :]
        return np.where(self.row >= 0, name[self.row, symbols], np.asarray(outside, dtype=name.dtype))


def pack(features: FloatArray, *, receptive_bars: int) -> Packed:
    """Pack features (n_bars, n_symbols, n_features); a missing feature keeps `receptive_bars` rows from ready."""
    if features.ndim != 3:
        raise ValueError(f"features must be (n_bars, n_symbols, n_features), were {features.shape}")
    missing = np.isnan(features)
    own: BoolArray = np.asarray(~missing.all(axis=2))
    complete: BoolArray = np.asarray(~missing.any(axis=2))
    if own.all():
        everywhere = np.broadcast_to(np.arange(len(features))[:, None], own.shape)
        return _packed(np.where(missing, 0.0, features), complete, everywhere, receptive_bars)
    n_symbols, n_rows = features.shape[1], int(own.sum(axis=0).max(initial=0))
    values = np.zeros((n_rows, n_symbols, features.shape[2]))
    row = np.full((n_rows, n_symbols), -1, dtype=np.int64)
    whole = np.zeros((n_rows, n_symbols), dtype=np.bool_)
    for symbol in range(n_symbols):
        rows = np.flatnonzero(own[:, symbol])
        values[: len(rows), symbol] = np.nan_to_num(features[rows, symbol], nan=0.0)
        row[: len(rows), symbol] = rows
        whole[: len(rows), symbol] = complete[rows, symbol]
    return _packed(values, whole, row, receptive_bars)


def without(features: FloatArray, absent: BoolArray) -> FloatArray:
    """The features with the absent ones, (n_features,), at 0 in every row that knows another one: they say nothing."""
    own = ~np.isnan(features[:, :, ~absent]).all(axis=2, keepdims=True)
    return np.where(absent, np.where(own, 0.0, np.nan), features)


def _packed(values: FloatArray, complete: BoolArray, row: npt.NDArray[np.int64], receptive_bars: int) -> Packed:
    count = np.zeros((len(complete) + 1, complete.shape[1]), dtype=np.int64)
    np.cumsum(complete, axis=0, out=count[1:])
    ready = np.zeros(complete.shape, dtype=np.bool_)
    if len(complete) >= receptive_bars:
        ready[receptive_bars - 1 :] = count[receptive_bars:] - count[:-receptive_bars] == receptive_bars
    return Packed(values=np.ascontiguousarray(values), ready=ready, row=row)
