"""Parts of training loops: rates of layers, frozen blocks, drop path, and recomputed blocks with the same gradients."""

import pytest
import torch

from aasp_features import AaSPConfig, AaSPEncoder, OptionError
from aasp_features.fine_tuning import draw_paths, dropping_paths

LENGTHS = torch.tensor([9000, 5000, 7000])


def tiny_encoder(depth: int = 2) -> AaSPEncoder:
    torch.manual_seed(0)
    config = AaSPConfig.tiny(dim=32, depth=depth, heads=2, lambda_hidden=16, states=4, name="aasp-test-loop-1")
    return AaSPEncoder(config).unfreeze()


def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(1))


def gradients(encoder: AaSPEncoder) -> torch.Tensor:
    encoder.zero_grad()
    encoder(waveform(), LENGTHS).square().sum().backward()
    return torch.cat([parameter.grad.flatten() for parameter in encoder.parameters() if parameter.grad is not None])


def test_rates_rise_and_expectations_are_one() -> None:
    paths = draw_paths(5, 20_000, 0.4, torch.Generator().manual_seed(0))
    for block, rate in enumerate([0.0, 0.1, 0.2, 0.3, 0.4]):
        for branch in paths[block]:
            assert abs(float((branch == 0).float().mean()) - rate) < 4 * (0.25 / 20_000) ** 0.5
            assert abs(float(branch.mean()) - 1) < 0.03
            assert set(branch.unique().tolist()) <= {0.0, float(torch.tensor(1) / (1 - torch.tensor(rate)))}
    assert draw_paths(1, 1000, 0.5, torch.Generator().manual_seed(0)).mean() == pytest.approx(1, abs=0.15)


def test_branches_are_multiplied_inside_only() -> None:
    network = tiny_encoder().network
    x = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(0))
    first = network.blocks[0]
    before = first(x)
    paths = torch.tensor([[[1.0, 0, 2], [1, 0, 3]], [[1, 1, 1], [1, 1, 1]]])  # (blocks, branches, clips)
    with torch.no_grad(), dropping_paths(network.blocks, paths):
        inside = first(x)
    torch.testing.assert_close(inside[0], before[0])
    assert torch.equal(inside[1], x[1])
    with torch.no_grad():
        scaled = x[2:] + 2 * first.attention(first.norm1(x[2:]))
        scaled = scaled + 3 * first.mlp(first.norm2(scaled))
    torch.testing.assert_close(inside[2:], scaled)
    assert torch.equal(first(x), before)  # the hooks are gone
    with dropping_paths(network.blocks, None):
        assert torch.equal(first(x), before)


def test_every_parameter_has_the_rate_of_its_layer() -> None:
    encoder = tiny_encoder(depth=3)
    groups = encoder.parameter_groups(0.1, layer_decay=0.5, weight_decay=0.2)
    rates = {parameter: group["lr"] for group in groups for parameter in group["params"]}
    expected = {
        "norm": 0.1,
        "blocks.2": 0.05,
        "blocks.1": 0.025,
        "blocks.0": 0.0125,
        "patch_embed": 0.00625,
        "cls": 0.00625,
    }
    for name, parameter in encoder.network.named_parameters():
        rate = next(value for part, value in expected.items() if name.startswith(part))
        assert rates.pop(parameter) == pytest.approx(rate), name
    assert not rates
    decayed = {parameter for group in groups if group["weight_decay"] == 0.2 for parameter in group["params"]}
    assert decayed == {part.weight for part in encoder.modules() if isinstance(part, torch.nn.Linear)}
    torch.optim.AdamW(groups)


def test_frozen_blocks_get_no_gradient_and_no_group() -> None:
    encoder = tiny_encoder(depth=3).unfreeze(last_blocks=1)
    encoder(waveform(), LENGTHS).sum().backward()
    trained = {name for name, parameter in encoder.network.named_parameters() if parameter.grad is not None}
    assert {name.rpartition(".")[0].split(".")[0] for name in trained} == {"blocks", "norm"}
    assert {name.split(".")[1] for name in trained if name.startswith("blocks")} == {"2"}
    grouped = {parameter for group in encoder.parameter_groups(0.1) for parameter in group["params"]}
    assert grouped == {parameter for parameter in encoder.parameters() if parameter.requires_grad}
    assert all(parameter.requires_grad for parameter in encoder.unfreeze().parameters())


def test_sentences() -> None:
    encoder = tiny_encoder()
    with pytest.raises(OptionError, match="last_blocks must be 0 to 2, got 3"):
        encoder.unfreeze(last_blocks=3)
    with pytest.raises(OptionError, match="parameters are frozen; call encoder"):
        encoder.requires_grad_(False).parameter_groups(0.1)
    with pytest.raises(OptionError, match="rate must be 0 to below 1, got 1"), encoder.drop_path(1.0, 3):
        pass


def test_recomputed_blocks_give_the_same_gradients_also_with_drop_path() -> None:
    """The backward pass comes after the context, and computes again with the paths of the forward pass."""
    encoder = tiny_encoder()
    plain = gradients(encoder)
    found = []
    for enable in (False, True):
        encoder.gradient_checkpointing_enable(enable)
        assert torch.equal(gradients(encoder), plain)
        encoder.zero_grad()
        with encoder.drop_path(0.8, 3, torch.Generator().manual_seed(0)):
            vectors = encoder(waveform(), LENGTHS)
        vectors.square().sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in encoder.parameters()]))
    assert torch.equal(*found)
    assert not torch.equal(found[0], plain)


def test_bfloat16_weights_train_and_embed() -> None:
    """Vectors stay near those of float32 weights, and the frontend stays float32."""
    exact, rough = tiny_encoder(), tiny_encoder().to(torch.bfloat16)
    assert {parameter.dtype for parameter in rough.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(rough.log_mel(waveform()), exact.log_mel(waveform()), atol=0, rtol=0)
    near = rough(waveform(), LENGTHS)
    assert near.dtype == torch.bfloat16
    cosines = torch.nn.functional.cosine_similarity(near.float(), exact(waveform(), LENGTHS), dim=1)
    assert cosines.min() > 0.999
    cosines = torch.nn.functional.cosine_similarity(gradients(rough).float(), gradients(exact), dim=0)
    assert cosines > 0.98
    embedded = torch.from_numpy(rough.embed([clip.numpy() for clip in waveform()]))
    assert embedded.dtype == torch.float32
    assert "cpu (bfloat16)" in repr(rough)
    frames = rough.embed_frames(waveform()[0].numpy()).embeddings
    stream = rough.stream(16000)
    streamed = torch.cat(
        [torch.as_tensor(stream.push(waveform()[0].numpy()).embeddings), torch.as_tensor(stream.finish().embeddings)]
    )
    assert torch.nn.functional.cosine_similarity(streamed, torch.from_numpy(frames), dim=1).min() > 0.999
