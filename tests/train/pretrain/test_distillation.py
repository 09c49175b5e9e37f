"""Targets against scikit-learn's PCA, the student's vector against ``embed``, and nothing read that is padding."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from distillation_helpers import batch, features, generator, objective
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from train_helpers import MODEL

from aasp_features import AaSPConfig, AaSPEncoder
from aasp_features.train.data.batch import Batch
from aasp_features.train.pretrain.distillation import fit_targets, keep_columns


@pytest.mark.parametrize("exponent", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("variance", [0.8, 0.97, 1.0])
def test_targets_are_principal_axes(exponent: float, variance: float) -> None:
    x = features()
    targets = fit_targets(x, variance, exponent)(x).numpy()
    standard = StandardScaler().fit_transform(x.numpy().astype(np.float64))
    pca = PCA().fit(standard)
    kept = int(np.searchsorted(np.cumsum(pca.explained_variance_ratio_), variance - 1e-9)) + 1
    assert targets.shape[1] == kept
    expected = pca.transform(standard)[:, :kept] / pca.explained_variance_[:kept] ** exponent
    expected /= np.sqrt(np.mean(expected**2))
    signs = np.sign((targets * expected).sum(axis=0))
    np.testing.assert_allclose(targets * signs, expected, atol=2e-3)
    assert np.mean(targets**2) == pytest.approx(1.0, abs=1e-4)
    assert np.abs(targets.mean(axis=0)).max() < 1e-3


def test_constant_numbers_count_for_nothing() -> None:
    x = features()
    with_constants = torch.cat([x, torch.full((500, 2), 7.5), torch.zeros(500, 1)], dim=1)
    one, other = fit_targets(x, 0.97, 0.25), fit_targets(with_constants, 0.97, 0.25)
    assert (other.axes[-3:] == 0).all()
    torch.testing.assert_close(one(x).abs(), other(with_constants).abs(), atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="its features are the same for every crop"):
        fit_targets(torch.ones(50, 3), 0.97, 0.25)


def test_a_wild_crop_counts_little() -> None:
    x = features()
    targets = fit_targets(x, 0.97, 0.25)
    far = targets(x[:3] + 1e6)
    assert far.abs().max() == 6.0
    assert (far.sign() == ((x[:3] + 1e6 - targets.mean) @ targets.axes).sign()).all()


@given(
    frames=st.lists(st.integers(1, 160), min_size=1, max_size=6),
    token_dropping=st.floats(0.0, 0.99),
    seed=st.integers(0, 1000),
)
def test_kept_columns(frames: list[int], token_dropping: float, seed: int) -> None:
    valid = (torch.tensor(frames)[:, None] - 16 * torch.arange(10)).clamp(0, 16)
    kept = keep_columns(valid, token_dropping, torch.Generator().manual_seed(seed))
    for row, columns in zip(kept.tolist(), valid, strict=True):
        chosen = [column for column in row if column >= 0]
        real = int((columns > 0).sum())
        assert len(chosen) == max(1, round((1 - token_dropping) * real))
        assert chosen == sorted(set(chosen))
        assert all(columns[column] > 0 for column in chosen)
        assert row[len(chosen) :] == [-1] * (len(row) - len(chosen))


@pytest.mark.parametrize("pooling", ["frequency", "mean", "mean+cls", "frequency+std", "cls"])
def test_the_vector_is_what_embed_gives(pooling: str) -> None:
    encoder = AaSPEncoder(AaSPConfig.tiny(**MODEL)).eval()
    sound = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    frames = 1 + (16000 - 400) // 160
    log_mel = encoder.log_mel(torch.from_numpy(sound))[None]
    one = Batch(log_mel, torch.tensor([frames]), torch.tensor([0]), torch.tensor([0]))
    with torch.no_grad():
        vector = objective(pooling=pooling).distillation.clip_vectors(encoder.network, one, 0.0, generator())
    np.testing.assert_allclose(vector[0], encoder.embed(sound, pooling=pooling, last_layers=2), atol=1e-5)


@pytest.mark.parametrize("token_dropping", [0.0, 0.5])
def test_padding_and_batch_mates_change_nothing(token_dropping: float) -> None:
    network, mixed = objective().eval(), batch([96, 40, 96, 5], 6)
    log_mel = mixed.log_mel.clone().requires_grad_(True)
    network(mixed._replace(log_mel=log_mel), generator(), token_dropping).total.backward()
    assert log_mel.grad[torch.arange(96) >= mixed.frame_lengths[:, None]].abs().max() == 0
    if not token_dropping:
        together = network.distillation.clip_vectors(network.student, mixed, 0.0, generator())
        for row in range(4):
            alone = Batch(*(part[row : row + 1] for part in mixed[:4]))
            shorter = alone._replace(log_mel=alone.log_mel[:, : int(alone.frame_lengths)])
            vector = network.distillation.clip_vectors(network.student, shorter, 0.0, generator())
            torch.testing.assert_close(vector[0], together[row], atol=1e-5, rtol=1e-5)


def test_dropped_columns_are_not_seen() -> None:
    network, one = objective(), batch([160], 10)
    kept = keep_columns(torch.full((1, 10), 16), 0.5, generator())[0].tolist()
    changed = one.log_mel.clone()
    for column in set(range(10)) - set(kept):
        changed[:, 16 * column : 16 * (column + 1)] += 3
    with torch.no_grad():
        vectors = [
            network.distillation.clip_vectors(network.student, one._replace(log_mel=sound), 0.5, generator())
            for sound in (one.log_mel, changed)
        ]
    assert torch.equal(vectors[0], vectors[1])


def test_losses_by_name_and_weight() -> None:
    network, given_batch = objective(), batch([64, 64, 64], 4)
    losses = network(given_batch, generator())
    assert set(losses.parts) == {"levels", "peaks"}
    assert losses.targets is None
    torch.testing.assert_close(losses.total, losses.parts["levels"] + 0.5 * losses.parts["peaks"])
    vector = network.distillation.clip_vectors(network.student, given_batch, 0.0, generator())
    for name, part in losses.parts.items():
        guess = network.distillation.heads[name](vector)
        error = (guess - network.distillation.targets[name](given_batch.features[name])).square().mean()
        torch.testing.assert_close(part, error)


def test_the_cosine_of_guess_and_target() -> None:
    network, given_batch = objective(), batch([64, 64, 64], 4)
    network.distillation.settings.loss = "cosine"
    losses = network(given_batch, generator())
    vector = network.distillation.clip_vectors(network.student, given_batch, 0.0, generator())
    for name, part in losses.parts.items():
        guess = network.distillation.heads[name](vector).detach().numpy().astype(np.float64)
        target = network.distillation.targets[name](given_batch.features[name]).numpy().astype(np.float64)
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(guess, target, strict=True)]
        assert part.item() == pytest.approx(1 - np.mean(cosines), abs=1e-5)


def test_beside_aasps_own_losses() -> None:
    network, given_batch = objective(), batch([64, 64, 30, 30], 4)
    network.recipe.objective.weights.update(frame=1.0, contrast=0.3)
    losses = network(given_batch, generator(), 0.5)
    assert set(losses.parts) == {"frame", "clip", "contrast", "levels", "peaks"}
    weights = {"frame": 1.0, "clip": 0.0, "contrast": 0.3, "levels": 1.0, "peaks": 0.5}
    torch.testing.assert_close(losses.total, sum(weights[name] * part for name, part in losses.parts.items()))
    losses.total.backward()
    assert network.distillation.heads["peaks"].weight.grad.abs().max() > 0


@pytest.mark.parametrize("token_dropping", [0.0, 0.5])
def test_nothing_is_asked_of_the_device(token_dropping: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors on the meta device have no numbers to give; whoever wants one gets an error."""
    real, meta = torch.autocast, torch.device("meta")
    monkeypatch.setattr(
        torch, "autocast", lambda device, **rest: nullcontext() if device == "meta" else real(device, **rest)
    )
    losses = objective().to(meta)(batch([96, 40, 96, 5], 6).to(meta), generator(), token_dropping)
    losses.total.backward()
    assert losses.parts["levels"].device == meta
