"""A model on disk comes back as it was, and nothing that was tampered with or torn is loaded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.networks import RECEPTIVE, card, network, save_model
from tiers import predict
from tiers.contracts.errors import DataError, ModelMissing
from tiers.predict import artefact
from tiers.predict.artefact import CARD, WEIGHTS, Predictor

NAMES = ("a", "b", "c")


def features(n_bars: int, n_symbols: int = 2, *, seed: int = 0, gaps: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.normal(size=(n_bars, n_symbols, len(NAMES)))
    made[rng.random((n_bars, n_symbols)) < gaps] = np.nan
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "models" / "one", names=NAMES)
    return tmp_path / "models" / "one"


def change_card(folder: Path, **changes: object) -> None:
    """As if training had written it like that."""
    (folder / CARD).write_text(json.dumps(replace(artefact.read_card(folder), **changes).to_json()))  # type: ignore[arg-type]


def edit_card(folder: Path, **changes: object) -> None:
    """As somebody with an editor does."""
    kept = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps({**kept, **changes}))


def test_a_model_comes_back_with_its_card_and_its_probabilities(folder: Path) -> None:
    loaded = artefact.load(folder)
    weights = artefact.weights_bytes(network(len(NAMES)).float().state_dict())
    assert loaded.card == card(weights, names=NAMES)
    assert (loaded.receptive_bars, loaded.horizon_bars) == (RECEPTIVE, 5)
    same = Predictor(card(weights, names=NAMES), network(len(NAMES)).float())
    given = features(80)
    np.testing.assert_array_equal(loaded.probabilities(given), same.probabilities(given))
    assert not np.array_equal(
        loaded.probabilities(given), Predictor(replace(loaded.card, temperature=3.0), network(3)).probabilities(given)
    )


def test_equal_weights_give_equal_bytes() -> None:
    state = network(3).state_dict()
    assert artefact.weights_bytes(state) == artefact.weights_bytes(dict(reversed(state.items())))


def test_probabilities_sum_to_one_and_are_missing_where_the_input_is(folder: Path) -> None:
    given = features(90)
    given[50, 1, 2] = np.nan
    got = predict.run(artefact.load(folder), given)
    known = np.isfinite(got).all(axis=2)
    expected = np.ones((90, 2), dtype=bool)
    expected[: RECEPTIVE - 1] = False
    expected[50 : 50 + RECEPTIVE, 1] = False
    np.testing.assert_array_equal(known, expected)
    np.testing.assert_array_equal(np.isnan(got).any(axis=2), ~expected)
    np.testing.assert_allclose(got[known].sum(axis=1), 1.0, rtol=1e-12)
    assert got[known].std(axis=0).min() > 0.005, "the network speaks"


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_a_live_window_gives_the_row_of_the_batch(folder: Path, gaps: float) -> None:
    model, given = artefact.load(folder), features(160, 3, gaps=gaps)
    batch = model.probabilities(given)
    for end in (60, 97, 160):
        for symbol in range(3):
            own = np.flatnonzero(np.isfinite(given[:end, symbol, 0]))[-RECEPTIVE:]
            live = model.probabilities(given[own[0] : own[-1] + 1, symbol : symbol + 1])[-1, 0]
            assert np.isfinite(live).all()
            np.testing.assert_allclose(live, batch[own[-1], symbol], rtol=0, atol=1e-12)


def test_one_row_less_than_the_receptive_field_is_not_enough(folder: Path) -> None:
    model = artefact.load(folder)
    assert np.isnan(model.probabilities(features(RECEPTIVE - 1))).all()
    assert np.isfinite(model.probabilities(features(RECEPTIVE))[-1]).all()
    assert model.probabilities(features(0)).shape == (0, 2, 3)


@pytest.mark.parametrize("shape", [(40, 2, 4), (40, 2, 2), (40, 3)])
def test_another_number_of_features_is_refused(folder: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"features must be \(n_bars, n_symbols, 3\), were"):
        artefact.load(folder).probabilities(np.ones(shape))


def test_tampered_weights_are_not_loaded(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(ModelMissing, match="must have the hash of their card, they have another one"):
        artefact.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 1.71},
        {"mean": [0.0, 0.1, 0.1]},
        {"scale": [1.5, 1.5, 1.4]},
        {"prior": [0.4, 0.3, 0.3]},
        {"feature_names": ["b", "a", "c"]},
        {"horizon_bars": 6},
        {"params": {"volatility_bars": 21}},
        {"artifact_sha256": "0" * 64},
    ],
    ids=lambda one: next(iter(one)),
)
def test_an_edited_card_is_not_loaded(folder: Path, changes: dict[str, object]) -> None:
    edit_card(folder, **changes)
    with pytest.raises(ModelMissing, match=f"{folder / CARD} must be as it was written"):
        artefact.load(folder)


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False) | st.integers(), max_size=5))
def test_a_hash_outlives_a_json_store_that_tells_no_one_from_one_point_nought(values: dict[str, float]) -> None:
    stored = {key: int(one) if isinstance(one, float) and one.is_integer() else one for key, one in values.items()}
    assert card(b"", metrics=values).sha256 == card(b"", metrics=stored).sha256


def test_weights_that_fit_another_network_are_not_loaded(folder: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "wider", names=(*NAMES, "d"))
    data = (tmp_path / "wider" / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data)
    change_card(folder, weights_sha256=artefact.digest(data))
    with pytest.raises(ModelMissing, match="do not fit preset compact"):
        artefact.load(folder)
    (folder / WEIGHTS).write_bytes(b"no tensors")
    change_card(folder, weights_sha256=artefact.digest(b"no tensors"))
    with pytest.raises(ModelMissing, match="do not fit preset compact"):
        artefact.load(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelMissing, match=r"must hold model\.safetensors: No such file"):
        artefact.load(folder)
    with pytest.raises(ModelMissing, match=r"must hold a readable card\.json: FileNotFoundError"):
        artefact.load(tmp_path / "nowhere")


@pytest.mark.parametrize("text", [b"{", b"[1, 2]", b"{}", b'{"name": "only"}', b"\xff\xfe", b"null"])
def test_a_damaged_card_is_refused(folder: Path, text: bytes) -> None:
    (folder / CARD).write_bytes(text)
    with pytest.raises(ModelMissing, match=r"must hold a readable card\.json"):
        artefact.load(folder)


@pytest.mark.parametrize(
    "changes",
    [{"preset": "huge"}, {"mean": [0.0]}, {"scale": [1.0] * 4}, {"prior": [0.5, 0.5]}, {"receptive_bars": 30}],
    ids=lambda one: next(iter(one)),
)
def test_a_card_that_contradicts_itself_is_refused(folder: Path, changes: dict[str, object]) -> None:
    change_card(folder, **changes)
    with pytest.raises(ModelMissing, match=str(folder)):
        artefact.load(folder)


def test_a_card_must_carry_the_hash_of_its_weights(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the card must carry the hash of its weights"):
        artefact.save(tmp_path / "model", card(b"some"), b"others")
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_replaced_whole_and_leaves_nothing_beside_it(folder: Path) -> None:
    (folder / "stray.txt").write_text("left by somebody")
    written = save_model(folder, seed=9, names=NAMES)
    assert sorted(path.name for path in folder.iterdir()) == [CARD, WEIGHTS]
    assert artefact.load(folder).card == written
    assert [path.name for path in folder.parent.iterdir()] == ["one"]


def test_a_write_that_fails_keeps_the_model_that_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = artefact.load(folder).card

    def full(*_: object, **__: object) -> str:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(artefact.json, "dumps", full)
        with pytest.raises(OSError, match="No space left"):
            save_model(folder, seed=9, names=NAMES)
    assert artefact.load(folder).card == before
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
