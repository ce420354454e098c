"""The sequence model: a causal dilated convolutional network, evaluated over a whole series in one pass.

Source: Bai, Kolter, Koltun 2018, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling"; here with one convolution and a mixing layer in each residual block, normalised row by row.
A convolution is a sum of shifted matrix products, so the cost is linear in the number of rows, and each output
row depends on exactly `receptive_bars` input rows, whatever stands before, behind or beside them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tiers.contracts.errors import DataError

CLIP = 6.0  # normalised inputs beyond this many deviations say nothing more


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """The shape of a network; `receptive_bars` follows from it."""

    channels: int
    kernel: int
    dilations: tuple[int, ...]
    dropout: float
    accelerated: bool = False  # trained and evaluated on CUDA where there is one

    @property
    def receptive_bars(self) -> int:
        return 1 + (self.kernel - 1) * sum(self.dilations)


PRESETS: dict[str, NetworkConfig] = {
    "compact": NetworkConfig(channels=32, kernel=3, dilations=(1, 2, 4, 8), dropout=0.2),
    "base": NetworkConfig(channels=128, kernel=3, dilations=(1, 2, 4, 8, 16, 32), dropout=0.2, accelerated=True),
}


def preset(name: str) -> NetworkConfig:
    """The preset of this name; `DataError` names those that exist."""
    if name not in PRESETS:
        raise DataError(f"preset must be one of {', '.join(PRESETS)}, was {name!r}")
    return PRESETS[name]


def device(config: NetworkConfig) -> torch.device:
    """Where a network of this shape runs: CUDA for the bigger presets when there is one, else the CPU."""
    return torch.device("cuda" if config.accelerated and torch.cuda.is_available() else "cpu")


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let torch use `n` threads inside, as many as before outside.

    For the small matrices of `compact` one thread is the fastest, by far on a busy machine, and makes the bits of
    a training independent of the number of cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_process(*, threads: int) -> None:
    """For a worker's start: how many threads torch may use. One is fastest for the few rows of a live cycle.

    The only function here that changes a setting of the whole process for good.
    """
    torch.set_num_threads(threads)


class Block(nn.Module):
    """Residual block: normalise, convolve over `kernel` rows `dilation` apart, bend, mix, add."""

    def __init__(self, config: NetworkConfig, dilation: int) -> None:
        super().__init__()
        channels = config.channels
        self.kernel, self.dilation = config.kernel, dilation
        self.norm = nn.LayerNorm(channels)
        taps = torch.empty(config.kernel, channels, channels)
        if not taps.is_meta:  # a draw without memory behind it makes torch load sympy: 2 s of CPU
            taps = taps.normal_() * (config.kernel * channels) ** -0.5
        self.taps = nn.Parameter(taps)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mix = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, n_symbols, channels) to (n - (kernel - 1) * dilation, n_symbols, channels)."""
        lost = (self.kernel - 1) * self.dilation
        left = len(rows) - lost
        inner = self.norm(rows)
        total = self.bias + inner[:left] @ self.taps[0]
        for tap in range(1, self.kernel):
            start = tap * self.dilation
            total = total + inner[start : start + left] @ self.taps[tap]
        mixed: Tensor = self.mix(self.dropout(nn.functional.gelu(total)))
        return rows[lost:] + mixed


class CausalNetwork(nn.Module):
    """Normalised features to three logits a row; output row i has seen the input rows i .. i + receptive_bars - 1."""

    def __init__(self, config: NetworkConfig, n_features: int) -> None:
        super().__init__()
        self.entry = nn.Linear(n_features, config.channels)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, dilation) for dilation in config.dilations)
        self.norm = nn.LayerNorm(config.channels)
        self.head = nn.Linear(config.channels, 3)
        nn.init.zeros_(self.head.weight)  # an untrained network knows the class frequencies and nothing else
        nn.init.zeros_(self.head.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, n_symbols, n_features) to (n - receptive_bars + 1, n_symbols, 3)."""
        rows = self.entry(self.dropout(features.clamp(-CLIP, CLIP)))
        for block in self.blocks:
            rows = block(rows)
        logits: Tensor = self.head(self.norm(rows))
        return logits


def restored(config: NetworkConfig, n_features: int, weights: Mapping[str, Tensor]) -> CausalNetwork:
    """A network with the given weights; draws no random numbers. `RuntimeError` when they do not fit its shape."""
    with torch.device("meta"):
        network = CausalNetwork(config, n_features)
    network.load_state_dict(weights, assign=True)
    return network


def evaluate(network: CausalNetwork, rows: Tensor, *, receptive_bars: int, rows_at_once: int = 65_536) -> Tensor:
    """Logits of a whole series in portions of bounded memory: (n, n_symbols, n_features) to (n, n_symbols, 3).

    The first `receptive_bars - 1` rows have not enough before them and are NaN. No dropout, no gradients; a row's
    value does not depend on where the portions begin beyond the rounding of the arithmetic.
    """
    n, n_symbols = rows.shape[:2]
    logits = torch.full((n, n_symbols, 3), torch.nan, dtype=rows.dtype, device=rows.device)
    step = max(1, rows_at_once // max(n_symbols, 1))
    network.eval()
    with torch.inference_mode():
        for start in range(receptive_bars - 1, n, step):
            end = min(start + step, n)
            logits[start:end] = network(rows[start - receptive_bars + 1 : end])
    return logits
