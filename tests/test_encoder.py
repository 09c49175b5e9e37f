"""AaSPEncoder's calls: shapes, types, times, options, gradients, saving."""

import copy
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import plan_windows

from aasp_features import AaSPConfig, AaSPEncoder, CheckpointError, InputError, OptionError, load_audio
from aasp_features.model.pooling import pool_clip
from aasp_features.windows import count_columns, count_frames

SOUND = np.random.default_rng(0).normal(size=40000).astype(np.float32) * 0.1


@pytest.mark.parametrize(
    ("pooling", "dimensions"),
    [("mean", 48), ("cls", 48), ("mean+cls", 96), ("mean+std", 96), ("frequency", 384), ("frequency+std", 768)],
)
def test_embed_shapes(small_encoder: AaSPEncoder, pooling: str, dimensions: int) -> None:
    assert small_encoder.embed(SOUND, pooling=pooling).shape == (dimensions,)
    assert small_encoder.embed([SOUND, SOUND[:900]], pooling=pooling).shape == (2, dimensions)
    assert small_encoder.embed([SOUND], pooling=pooling).shape == (1, dimensions)
    assert small_encoder.embed([], pooling=pooling).shape == (0, dimensions)


def test_numpy_in_numpy_out_tensor_in_tensor_out(small_encoder: AaSPEncoder) -> None:
    array, tensor = small_encoder.embed(SOUND), small_encoder.embed(torch.from_numpy(SOUND))
    assert isinstance(array, np.ndarray)
    assert array.dtype == np.float32
    assert isinstance(tensor, torch.Tensor)
    assert not tensor.requires_grad
    np.testing.assert_array_equal(array, tensor.numpy())


def test_embed_equals_the_differentiable_forward(small_encoder: AaSPEncoder) -> None:
    for pooling in ("mean", "cls", "mean+cls", "frequency"):
        forward = small_encoder(torch.from_numpy(SOUND)[None], pooling=pooling)[0]
        np.testing.assert_allclose(small_encoder.embed(SOUND, pooling=pooling), forward, atol=1e-5)


def test_clip_vector_is_the_mean_of_frames_weighted_by_valid_frames(small_encoder: AaSPEncoder) -> None:
    long = np.resize(SOUND, 16000 * 25 + 777)
    frames = count_frames(len(long))
    weights = np.minimum(16, frames - 16 * np.arange(count_columns(frames)))
    for pooling in ("mean", "frequency"):
        framed = small_encoder.embed_frames(long, pooling=pooling).embeddings
        expected = np.average(framed, axis=0, weights=weights)
        np.testing.assert_allclose(small_encoder.embed(long, pooling=pooling), expected, atol=1e-5)


def test_frame_times_and_finer_hops(small_encoder: AaSPEncoder) -> None:
    coarse = small_encoder.embed_frames(SOUND)
    assert coarse.embeddings.shape == (len(coarse.times), 384)
    np.testing.assert_allclose(np.diff(coarse.times)[:-1], 0.16, atol=1e-12)
    fine = small_encoder.embed_frames(SOUND, hop=0.04)
    np.testing.assert_allclose(np.diff(fine.times)[:-4], 0.04, atol=1e-12)
    assert np.all(np.diff(fine.times) > 0)
    shared = np.isin(fine.times.round(9), coarse.times.round(9))
    np.testing.assert_array_equal(fine.embeddings[shared], coarse.embeddings)
    shifted = small_encoder.embed_frames(SOUND[4 * 160 :])  # the offset of 4 frames is the sound without its start
    np.testing.assert_allclose(fine.embeddings[1], shifted.embeddings[0], atol=1e-5)
    assert fine.times[1] == pytest.approx(shifted.times[0] + 0.04, abs=1e-12)


def test_frames_of_several_clips_are_a_list(small_encoder: AaSPEncoder) -> None:
    framed = small_encoder.embed_frames([SOUND, SOUND[:100]], hop=0.04)
    assert [len(one.times) for one in framed] == [len(small_encoder.embed_frames(SOUND, hop=0.04).times), 1]
    tensor = small_encoder.embed_frames(torch.from_numpy(SOUND))
    assert isinstance(tensor.embeddings, torch.Tensor)
    assert tensor.times.dtype == torch.float64


def test_files(small_encoder: AaSPEncoder, sounds: Path) -> None:
    paths = sorted(sounds.rglob("*.wav"))
    vectors = small_encoder.embed(paths)
    for path, vector in zip(paths, vectors, strict=True):
        np.testing.assert_allclose(small_encoder.embed(load_audio(path)), vector, atol=1e-5)
        np.testing.assert_allclose(small_encoder.embed(str(path)), vector, atol=1e-5)


def test_a_short_sound_warns(small_encoder: AaSPEncoder) -> None:
    with pytest.warns(UserWarning, match="3 samples at 16 kHz is shorter"):
        assert np.isfinite(small_encoder.embed(SOUND[:3])).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small_encoder.embed(SOUND[:400])


@pytest.mark.parametrize("sound", [np.zeros(16000), np.full(16000, 0.7), 1e20 * np.sign(SOUND), 1e-30 * SOUND])
def test_silence_and_extremes_are_finite(small_encoder: AaSPEncoder, sound: np.ndarray) -> None:
    assert np.isfinite(small_encoder.embed(sound.astype(np.float32))).all()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"pooling": "max"}, "pooling must be one of mean, cls"),
        ({"last_layers": 3}, "last_layers must be 1 to 2"),
        ({"last_layers": 0}, "last_layers must be 1 to 2"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"window": 65}, "window must be 1 to 64 columns"),
        ({"window": 4, "context": 2}, "context must leave columns in the window, got 2 on each side of 4"),
        ({"window": 0, "context": 0}, "window must be 1 to 64 columns"),
    ],
)
def test_wrong_options(small_encoder: AaSPEncoder, options: dict, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        small_encoder.embed(SOUND, **options)
    with pytest.raises(OptionError, match="hop must be one of"):
        small_encoder.embed_frames(SOUND, hop=0.05)


def test_encode_speaks_sentence_transformers(small_encoder: AaSPEncoder) -> None:
    expected = small_encoder.embed([SOUND, SOUND[:900]])
    np.testing.assert_array_equal(small_encoder.encode([SOUND, SOUND[:900]], batch_size=2), expected)
    assert isinstance(small_encoder.encode([SOUND], convert_to_tensor=True), torch.Tensor)
    listed = small_encoder.encode([SOUND, SOUND], convert_to_numpy=False)
    assert isinstance(listed, list)
    assert isinstance(listed[0], torch.Tensor)
    assert small_encoder.encode(SOUND).shape == (384,)
    lengths = np.linalg.norm(small_encoder.encode([SOUND, 2 * SOUND], normalize_embeddings=True), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


@pytest.mark.parametrize("inputs", [[SOUND, SOUND[:900]], [], SOUND, SOUND.tolist(), np.stack([SOUND, SOUND])])
def test_a_progress_bar_changes_nothing(
    small_encoder: AaSPEncoder, inputs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Batches as ever, so the same bits."""
    expected = small_encoder.encode(inputs, batch_size=2)
    assert "Embedding" not in capsys.readouterr().out
    np.testing.assert_array_equal(small_encoder.encode(inputs, batch_size=2, show_progress_bar=True), expected)
    assert "Embedding" in capsys.readouterr().out
    np.testing.assert_array_equal(small_encoder.embed(inputs, batch_size=2, progress=True), expected)
    assert "Embedding" in capsys.readouterr().out
    small_encoder.embed_frames(inputs, progress=True)
    assert "Embedding" in capsys.readouterr().out
    with pytest.raises(OptionError, match="batch_size must be at least 1, got 0"):
        small_encoder.encode(inputs, batch_size=0, show_progress_bar=True)


@pytest.mark.parametrize("device", ["foo", "cuda:99", "gpu", 3.5, -1, ""])
def test_devices_that_are_none(small_encoder: AaSPEncoder, checkpoint: Path, device: Any) -> None:
    for call in (
        lambda: AaSPEncoder.from_pretrained(checkpoint, device=device),
        lambda: small_encoder.encode(SOUND, device=device),
    ):
        with pytest.raises(OptionError, match="device must be one that torch can use here"):
            call()


def test_the_differentiable_path_checks_its_options(small_encoder: AaSPEncoder) -> None:
    batch = torch.from_numpy(SOUND)[None]
    with pytest.raises(OptionError, match=r"pooling must be one of mean, cls, .*, got 'bad'"):
        small_encoder(batch, pooling="bad")
    for layers, sentence in [
        (99, "last_layers must be 1 to 2"),
        (0, "1 to 2"),
        (1.5, "a whole number"),
        (-1, "1 to 2"),
    ]:
        with pytest.raises(OptionError, match=sentence):
            small_encoder.forward_features(batch, last_layers=layers)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            (SOUND,),
            r"takes a 2-D float tensor \(batch, samples\) at 16 kHz, got a ndarray of float32, shape \(40000,\)",
        ),
        ((torch.from_numpy(SOUND),), r"got a Tensor of torch.float32, shape \(40000,\); embed takes arrays"),
        ((torch.ones(1, 2, 8000),), r"shape \(1, 2, 8000\)"),
        ((torch.ones(2, 8000, dtype=torch.int16),), r"got a Tensor of torch.int16"),
        (("a.wav",), "got str"),
        ((torch.ones(2, 8000), [8000, 400]), "lengths must be an integer tensor of 2 rows, got list"),
        (
            (torch.ones(2, 8000), torch.tensor([8000, 0])),
            "lengths must be 1 to 8000 samples, got 0 to 8000",
        ),
        (
            (torch.ones(2, 8000), torch.tensor([9000, 5])),
            "lengths must be 1 to 8000 samples, got 5 to 9000",
        ),
        ((torch.ones(2, 8000), torch.tensor([8000])), r"of 2 rows, got a Tensor of torch.int64, shape \(1,\)"),
        ((torch.ones(2, 8000), torch.tensor([1.0, 2.0])), "got a Tensor of torch.float32"),
        ((torch.ones(2, 8000), torch.tensor([True, False])), "got a Tensor of torch.bool"),
        ((torch.ones(0, 8000),), r"shape \(0, 8000\)"),
    ],
)
def test_the_differentiable_path_checks_what_it_is_given(
    small_encoder: AaSPEncoder, given: tuple[object, ...], sentence: str
) -> None:
    for call in (small_encoder, small_encoder.forward_features):
        with pytest.raises(InputError, match=sentence):
            call(*given)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_weights_of_another_type_are_a_sentence(checkpoint: Path, dtype: torch.dtype) -> None:
    encoder = AaSPEncoder.from_pretrained(checkpoint).to(dtype)
    batch = torch.from_numpy(SOUND)[None]
    for call in (encoder.embed, encoder.embed_frames, lambda _: encoder.stream(), lambda _: encoder(batch.to(dtype))):
        with pytest.raises(OptionError, match=f"were converted to {str(dtype)[6:]}, and it computes with float32"):
            call(SOUND)


def test_the_default_dtype_changes_nothing(checkpoint: Path) -> None:
    expected = AaSPEncoder.from_pretrained(checkpoint).embed(SOUND)
    torch.set_default_dtype(torch.float64)
    try:
        encoder = AaSPEncoder.from_pretrained(checkpoint)
        np.testing.assert_array_equal(encoder.embed(SOUND), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_unknown_options_are_a_sentence(small_encoder: AaSPEncoder) -> None:
    calls: list[Callable[..., object]] = [small_encoder.embed, small_encoder.embed_frames, small_encoder.encode]
    for call in calls:
        with pytest.raises(TypeError, match="unexpected keyword argument 'sr'; the rate of raw arrays is sample_rate"):
            call(SOUND, sr=8000)
        with pytest.raises(TypeError, match=r"unexpected keyword argument 'pool'\.$"):
            call(SOUND, pool="mean")
    with pytest.raises(TypeError, match="unexpected keyword argument 'sampling_rate'; the rate"):
        small_encoder.stream(sampling_rate=8000)


def test_inference_only_until_asked(checkpoint: Path) -> None:
    encoder = AaSPEncoder.from_pretrained(checkpoint)
    assert not encoder.training
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.requires_grad_(True)
    encoder(torch.from_numpy(SOUND)[None], pooling="mean+cls").square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("half", [False, True])
def test_save_and_load(small_encoder: AaSPEncoder, tmp_path: Path, half: bool) -> None:
    small_encoder.save_pretrained(tmp_path / "new" / "checkpoint", half=half)
    loaded = AaSPEncoder.from_pretrained(tmp_path / "new" / "checkpoint")
    assert loaded.config == small_encoder.config
    for key, value in small_encoder.network.state_dict().items():
        torch.testing.assert_close(
            loaded.network.state_dict()[key], value.half().float() if half else value, atol=0, rtol=0
        )


def test_wrong_architecture_is_refused(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    folder = small_encoder.save_pretrained(tmp_path)
    (folder / "config.json").write_text(small_encoder.config.replace(dim=96).to_json())
    with pytest.raises(CheckpointError, match=r"weights do not fit its config: .* not \(96"):
        AaSPEncoder.from_pretrained(folder)


def test_default_config_and_presets() -> None:
    with torch.device("meta"):
        assert AaSPEncoder().embedding_dim == 1536
        assert AaSPEncoder(AaSPConfig.base(pooling="mean")).embedding_dim == 768


def test_other_windows_of_long_audio(small_encoder: AaSPEncoder) -> None:
    """Each column's vector is that of the window that emits it, computed alone."""
    long = np.resize(SOUND, 16000 * 5)
    framed = small_encoder.embed_frames(long, window=10, context=2)
    assert framed.times.tolist() == small_encoder.embed_frames(long).times.tolist()
    for plan in plan_windows(len(framed.times), 10, 2):
        piece = long[2560 * plan.start : 2560 * plan.stop - 160 + 400]
        alone = small_encoder.embed_frames(piece).embeddings[plan.emitted]
        np.testing.assert_allclose(framed.embeddings[plan.emit_start : plan.emit_stop], alone, atol=1e-5)


def test_forward_features_takes_what_forward_takes(small_encoder: AaSPEncoder) -> None:
    batch, lengths = torch.from_numpy(np.stack([SOUND, SOUND[::-1]])), torch.tensor([40000, 9000])
    features = small_encoder.forward_features(batch, lengths)
    torch.testing.assert_close(pool_clip(features, "mean"), small_encoder(batch, lengths, pooling="mean"))
    log_mel = small_encoder.log_mel(batch, lengths)
    again = small_encoder.network(log_mel, small_encoder.log_mel.count_frames(lengths))
    torch.testing.assert_close(again.tokens, features.tokens)


def test_a_printed_encoder_says_what_it_is(small_encoder: AaSPEncoder) -> None:
    name, dimension, window, device, parameters = repr(small_encoder).splitlines()
    assert small_encoder.config.name in name
    assert (dimension, device) == ("  dimension: 384 (pooling frequency)", "  device: cpu (float32)")
    assert window == "  window: 10.24 s (64 columns, 8 of context)"
    assert parameters == f"  parameters: {sum(one.numel() for one in small_encoder.parameters()) / 1e6:.1f} million"


def untrained_warnings(call: Callable[[], object]) -> int:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    for warning in caught:
        assert "weights are random; its vectors are those of an untrained network" in str(warning.message)
        assert warning.filename == __file__
    return len(caught)


@pytest.mark.parametrize("call", ["embed", "embed_frames", "encode", "stream"])
def test_random_weights_warn_at_the_first_call_only(call: str) -> None:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    assert untrained_warnings(encoder.stream if call == "stream" else lambda: getattr(encoder, call)(SOUND)) == 1
    assert untrained_warnings(lambda: encoder.embed(SOUND)) == 0
    assert untrained_warnings(lambda: AaSPEncoder(encoder.config).embed(SOUND)) == 1  # each encoder for itself


def test_copies_of_an_untrained_encoder_are_as_untrained() -> None:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1))
    for copied in [copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))]:
        assert untrained_warnings(lambda one=copied: one.embed(SOUND)) == 1


def test_weights_that_came_in_and_training_do_not_warn(checkpoint: Path) -> None:
    loaded = AaSPEncoder.from_pretrained(checkpoint)
    filled = AaSPEncoder(loaded.config)
    filled.load_state_dict(loaded.state_dict())
    trained = AaSPEncoder(AaSPConfig.tiny(depth=1)).requires_grad_(True)
    optimizer = torch.optim.AdamW([*trained.network.blocks.parameters()], 1e-3)
    assert untrained_warnings(lambda: trained(torch.from_numpy(SOUND)[None]).square().sum().backward()) == 0
    optimizer.step()
    for encoder in (loaded, filled, trained):
        assert untrained_warnings(lambda one=encoder: one.embed(SOUND)) == 0
