"""The network: a row depends on exactly its receptive rows, and on nothing beside, before or behind them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tiers.contracts.errors import DataError
from tiers.predict import network
from tiers.predict.network import PRESETS, CausalNetwork, NetworkConfig, evaluate, preset

TINY = NetworkConfig(channels=4, kernel=3, dilations=(1, 2), dropout=0.3)


def lively(config: NetworkConfig, n_features: int, *, seed: int = 1) -> CausalNetwork:
    """A network whose head has weights, as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = CausalNetwork(config, n_features).double()
        with torch.no_grad():
            for weight in made.parameters():
                weight.add_(0.1 * torch.randn_like(weight))
    return made.eval()


def series(n: int, n_symbols: int, n_features: int, *, seed: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, n_symbols, n_features)))


def plain(net: CausalNetwork, window: np.ndarray) -> np.ndarray:
    """The logits of the last row of one symbol's window, with loops and textbook formulas."""
    weights = {name: value.detach().numpy() for name, value in net.state_dict().items()}

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = (x - x.mean()) / math.sqrt(x.var() + 1e-5)
        return centred * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))

    rows = [weights["entry.weight"] @ np.clip(x, -network.CLIP, network.CLIP) + weights["entry.bias"] for x in window]
    for number, block in enumerate(net.blocks):
        name, reach = f"blocks.{number}", (block.kernel - 1) * block.dilation
        after = []
        for t in range(reach, len(rows)):
            total = weights[f"{name}.bias"].copy()
            for tap in range(block.kernel):
                total += norm(rows[t - reach + tap * block.dilation], f"{name}.norm") @ weights[f"{name}.taps"][tap]
            after.append(rows[t] + weights[f"{name}.mix.weight"] @ gelu(total) + weights[f"{name}.mix.bias"])
        rows = after
    assert len(rows) == 1
    return weights["head.weight"] @ norm(rows[0], "norm") + weights["head.bias"]


@pytest.mark.parametrize("config", [TINY, PRESETS["compact"]], ids=["tiny", "compact"])
def test_network_equals_its_plain_twin(config: NetworkConfig):
    net, rows = lively(config, 5), series(config.receptive_bars + 3, 2, 5)
    logits = evaluate(net, rows, receptive_bars=config.receptive_bars)
    for t in (config.receptive_bars - 1, config.receptive_bars + 2):
        window = rows[t - config.receptive_bars + 1 : t + 1, 1].numpy()
        np.testing.assert_allclose(logits[t, 1].numpy(), plain(net, window), rtol=0, atol=1e-12)


def test_receptive_bars_of_the_presets():
    assert preset("compact").receptive_bars == 31
    assert preset("base").receptive_bars == 127


@pytest.mark.parametrize("name", list(PRESETS))
def test_row_depends_on_exactly_its_receptive_rows(name: str):
    config = preset(name)
    net, rows = lively(config, 3), series(2 * config.receptive_bars + 5, 1, 3).requires_grad_()
    t = config.receptive_bars + 2
    logits = net(rows)[t - config.receptive_bars + 1]
    logits.square().sum().backward()
    touched = np.flatnonzero(np.abs(rows.grad.numpy()).sum(axis=(1, 2)))
    assert touched.tolist() == list(range(t - config.receptive_bars + 1, t + 1))


def test_symbols_do_not_see_each_other():
    net, rows = lively(TINY, 3), series(30, 4, 3)
    together = evaluate(net, rows, receptive_bars=TINY.receptive_bars)
    alone = evaluate(net, rows[:, 2:3], receptive_bars=TINY.receptive_bars)
    torch.testing.assert_close(together[:, 2:3], alone, rtol=0, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize(("n_symbols", "portion"), [(1, 7), (1, 64), (5, 40), (5, 100_000)])
def test_live_window_equals_the_batch_however_it_is_portioned(n_symbols: int, portion: int):
    config = preset("compact")
    net, rows = lively(config, 50), series(400, n_symbols, 50)
    batch = evaluate(net, rows, receptive_bars=31, rows_at_once=portion)
    assert torch.isnan(batch[:30]).all()
    for end in (31, 90, 257, 400):
        live = evaluate(net, rows[end - 31 : end], receptive_bars=31)[-1]
        torch.testing.assert_close(live, batch[end - 1], rtol=0, atol=1e-12)


def test_series_shorter_than_the_receptive_field_has_no_values():
    assert torch.isnan(evaluate(lively(TINY, 3), series(4, 2, 3), receptive_bars=7)).all()
    assert evaluate(lively(TINY, 3), series(0, 2, 3), receptive_bars=7).shape == (0, 2, 3)


def test_untrained_network_has_no_opinion():
    logits = evaluate(CausalNetwork(TINY, 3).double(), series(20, 2, 3), receptive_bars=7)
    assert (logits[6:] == 0).all()


def test_outliers_are_clipped():
    net, rows = lively(TINY, 3), series(7, 1, 3)
    rows[3, 0, 1] = 50.0
    wild = rows.clone()
    wild[3, 0, 1] = 1e9
    assert torch.equal(net(rows), net(wild))


def test_unknown_preset_names_those_there_are():
    with pytest.raises(DataError, match="preset must be one of compact, base, was 'huge'"):
        preset("huge")


def test_compact_stays_on_the_cpu():
    assert network.device(preset("compact")).type == "cpu"
    assert network.device(preset("base")).type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_threads_are_set_inside_and_restored_outside():
    before = torch.get_num_threads()
    with network.threads(1):
        assert torch.get_num_threads() == 1
        with pytest.raises(RuntimeError), network.threads(2):
            raise RuntimeError
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_worker_start_sets_the_threads_of_the_process():
    before = torch.get_num_threads()
    try:
        network.prepare_process(threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
