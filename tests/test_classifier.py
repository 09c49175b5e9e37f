"""AaSPClassifier against the plain formula, alone and in a batch, saved and loaded; events of a scene."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import mixed_sounds, noise, relative_difference
from torch import nn

from aasp_features import (
    AaSPClassifier,
    AaSPConfig,
    AaSPEncoder,
    Event,
    FramePredictions,
    OptionError,
    load_audio,
)
from aasp_features.events import find_events

pytestmark = pytest.mark.filterwarnings("ignore:this encoder's weights are random")

LABELS = ("rain", "bell", "voice")
PLAIN = {"smooth": 0, "min_duration": 0, "merge_gap": 0}


def made_classifier(encoder: AaSPEncoder, *, multi_label: bool = False, scale: float = 0.3) -> AaSPClassifier:
    torch.manual_seed(1)
    head = nn.Linear(encoder.embedding_dim, len(LABELS))
    nn.init.normal_(head.weight, std=scale / encoder.embedding_dim**0.5)
    return AaSPClassifier(encoder, LABELS, head, multi_label=multi_label)


@pytest.fixture(scope="module")
def classifier(small_encoder: AaSPEncoder) -> AaSPClassifier:
    return made_classifier(small_encoder)


@pytest.mark.parametrize("multi_label", [False, True])
def test_scores_are_a_linear_model_of_the_vectors(small_encoder: AaSPEncoder, multi_label: bool) -> None:
    classifier = made_classifier(small_encoder, multi_label=multi_label)
    clips = mixed_sounds()
    weight, bias = (part.detach().double().numpy() for part in (classifier.head.weight, classifier.head.bias))
    logits = small_encoder.embed(clips).astype(np.float64) @ weight.T + bias
    odds = np.exp(logits)
    expected = odds / (1 + odds) if multi_label else odds / odds.sum(axis=1, keepdims=True)
    scores = classifier.scores(clips)
    assert (scores.shape, scores.dtype) == ((5, 3), np.float32)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_alone_equals_in_a_batch_and_twice_once(classifier: AaSPClassifier) -> None:
    clips = mixed_sounds()
    together = classifier.scores(clips, batch_size=3)
    alone = np.stack([classifier.scores(clip) for clip in clips])
    assert relative_difference(alone, together) < 1e-5
    np.testing.assert_array_equal(classifier.scores(clips, batch_size=3), together)


def test_tensors_come_back_as_tensors(classifier: AaSPClassifier) -> None:
    clip = noise(20000)
    scores = classifier.scores(torch.from_numpy(clip))
    assert isinstance(scores, torch.Tensor)
    np.testing.assert_array_equal(scores.numpy(), classifier.scores(clip))
    framed = classifier.predict_frames(torch.from_numpy(clip))
    assert isinstance(framed.probabilities, torch.Tensor)
    assert classifier.events(torch.from_numpy(clip), threshold=0.3) == classifier.events(clip, threshold=0.3)


def test_predictions_are_the_likeliest(classifier: AaSPClassifier, sounds: Path) -> None:
    path = sounds / "nature" / "rain.flac"
    (best, second), scores = classifier.predict(path, top=2), classifier.scores(path)
    assert best.label == LABELS[scores.argmax()]
    assert best.probability == scores.max() >= second.probability
    everything = classifier.predict([path, noise(9000)])
    assert [len(one) for one in everything] == [3, 3]  # no more than there are
    assert [one.label for one in everything[0][:2]] == [best.label, second.label]
    assert sum(one.probability for one in everything[1]) == pytest.approx(1)


def test_forward_is_differentiable_and_gives_logits(small_encoder: AaSPEncoder) -> None:
    classifier = made_classifier(small_encoder)
    waveform = torch.from_numpy(np.stack([noise(16000), noise(16000, seed=5)]))
    logits = classifier(waveform)
    np.testing.assert_allclose(logits.softmax(dim=1).detach(), classifier.scores(waveform), atol=1e-5)
    logits.sum().backward()
    assert classifier.head.weight.grad is not None


@pytest.mark.parametrize("pooling", ["mean", "frequency"])
@pytest.mark.parametrize("samples", [16000 * 11, 50000])
def test_the_mean_of_the_frames_logits_is_the_clips(pooling: str, samples: int) -> None:
    torch.manual_seed(0)
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1, pooling=pooling))
    with torch.no_grad():
        encoder.network.cls += 1  # not the weights that it was made with
    classifier = made_classifier(encoder, multi_label=True)
    clip = noise(samples)
    framed = classifier.predict_frames(clip)
    assert framed.probabilities.shape == (len(framed.times), 3)
    np.testing.assert_array_equal(framed.times, encoder.embed_frames(clip).times)
    frames = 1 + (samples - 400) // 160
    valid = np.clip(frames - 16 * np.arange(len(framed.times)), 0, 16)  # the last column may hold less than the others
    logit = np.log(framed.probabilities) - np.log1p(-framed.probabilities)
    score = classifier.scores(clip)
    np.testing.assert_allclose(valid @ logit / valid.sum(), np.log(score) - np.log1p(-score), atol=1e-4)


def test_events_are_runs_of_frames(classifier: AaSPClassifier) -> None:
    clips = [noise(20000), noise(70000)]
    for hop in (0.16, 0.08):
        framed = classifier.predict_frames(clips, hop=hop)
        assert all(isinstance(one, FramePredictions) for one in framed)
        threshold = float(np.median(framed[1].probabilities))
        found = classifier.events(clips, threshold=threshold, hop=hop, **PLAIN)
        assert found == [find_events(*one, LABELS, threshold, hop) for one in framed]
        assert all(isinstance(event, Event) for event in found[1])
    alone = classifier.events(clips[1], threshold=0.3, **PLAIN)
    assert alone == find_events(*classifier.predict_frames(clips[1]), LABELS, 0.3, 0.16)


def test_smoothing_vectors_is_smoothing_logits(small_encoder: AaSPEncoder) -> None:
    classifier = made_classifier(small_encoder, multi_label=True)
    framed, smooth = (classifier.predict_frames(noise(30000), smooth=width) for width in (0, 0.5))
    logits, expected = (np.log(one.probabilities) - np.log1p(-one.probabilities) for one in (framed, smooth))
    near = np.abs(framed.times[:, None] - framed.times) <= 0.25
    np.testing.assert_allclose(near @ logits / near.sum(axis=1, keepdims=True), expected, atol=1e-4)


def right(found: list[Event], truth: list[Event]) -> int:
    """Events that share half of their union with one of the truth."""
    return sum(
        any(
            one.label == other.label
            and 2 * (min(one.end, other.end) - max(one.start, other.start))
            >= max(one.end, other.end) - min(one.start, other.start)
            for other in truth
        )
        for one in found
    )


def test_smoothed_events_of_a_scene_are_fewer_and_right(sounds: Path) -> None:
    """The classifier learns from the first halves of sounds; the scene has the second ones, each repeated for long."""
    from sklearn.linear_model import LogisticRegression

    encoder, names = AaSPEncoder.from_pretrained(), ["engine", "siren", "chord", "rain", "vowels"]
    clips = [np.split(load_audio(next(sounds.glob(f"*/{name}.*"))), [8000]) for name in names]
    frames = [encoder.embed_frames(np.resize(first, 16000)).embeddings for first, _ in clips]
    fitted = LogisticRegression(max_iter=3000).fit(
        np.concatenate(frames), np.repeat(names, [len(one) for one in frames])
    )
    head = nn.Linear(encoder.embedding_dim, len(names))
    head.load_state_dict({"weight": torch.tensor(fitted.coef_), "bias": torch.tensor(fitted.intercept_)})
    classifier = AaSPClassifier(encoder, fitted.classes_.tolist(), head)
    order = [0, 1, 2, 3, 4, 1, 0, 3, 2, 4]
    scene = np.concatenate([np.resize(clips[index][1], 40000) for index in order])
    truth = [Event(2.5 * place, 2.5 * place + 2.5, names[index], 1.0) for place, index in enumerate(order)]
    plain, found = classifier.events(scene, **PLAIN), classifier.events(scene)
    assert len(found) < len(plain)
    assert right(found, truth) >= right(plain, truth) >= 7
    assert right(found, truth) / len(found) > right(plain, truth) / len(plain)


def test_sounds_of_unlikely_classes_are_other(small_encoder: AaSPEncoder, tmp_path: Path) -> None:
    plain = made_classifier(small_encoder)
    largest = plain.scores(mixed_sounds()).max(axis=1)
    least = float(np.sort(largest)[1])
    classifier = AaSPClassifier(small_encoder, LABELS, plain.head, thresholds=[0.2, 0.3, 0.4], min_probability=least)
    again = AaSPClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    assert (again.thresholds, again.min_probability) == ((0.2, 0.3, 0.4), least)
    predictions = again.predict(mixed_sounds(), other=True)
    assert [one[0].label == "other" for one in predictions] == (largest < least).tolist()
    known = int(largest.argmax())
    assert predictions[known] == again.predict(mixed_sounds()[known])
    assert sum(one[0].label == "other" for one in predictions) == 1
    with pytest.raises(OptionError, match="no probability below which a sound is other"):
        plain.predict(noise(9000), other=True)
    with pytest.raises(OptionError, match="min_probability must be a probability"):
        AaSPClassifier(small_encoder, LABELS, plain.head, min_probability=1.5)


@pytest.mark.parametrize("pooling", ["cls", "mean+cls", "mean+std", "frequency+std"])
def test_other_poolings_say_nothing_of_frames(pooling: str) -> None:
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=1, pooling=pooling))
    with pytest.raises(OptionError, match="train one with the pooling mean or frequency"):
        made_classifier(encoder).predict_frames(noise(16000))


@pytest.mark.parametrize("multi_label", [False, True])
def test_saved_and_loaded_it_says_the_same(small_encoder: AaSPEncoder, multi_label: bool, tmp_path: Path) -> None:
    classifier = made_classifier(small_encoder, multi_label=multi_label)
    folder = classifier.save_pretrained(tmp_path / "classifier")
    again = AaSPClassifier.from_pretrained(folder)
    assert (again.labels, again.multi_label) == (LABELS, multi_label)
    assert not any(parameter.requires_grad for parameter in again.parameters())
    np.testing.assert_array_equal(again.scores(mixed_sounds()), classifier.scores(mixed_sounds()))
    encoder = AaSPEncoder.from_pretrained(folder)  # it is an encoder's checkpoint, too
    np.testing.assert_array_equal(encoder.embed(noise(9000)), small_encoder.embed(noise(9000)))
    assert "rain, bell, voice" in (folder / "README.md").read_text()
    assert (again.save_pretrained(tmp_path / "twice") / "classifier.json").read_bytes() == (
        folder / "classifier.json"
    ).read_bytes()


def test_another_pooling_is_stored_with_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = AaSPEncoder(AaSPConfig.tiny(depth=2, pooling="mean+std", last_layers=2))
    classifier = made_classifier(encoder)
    again = AaSPClassifier.from_pretrained(classifier.save_pretrained(tmp_path))
    with pytest.warns(UserWarning, match="weights are random"):
        expected = classifier.scores(noise(9000))
    np.testing.assert_array_equal(again.scores(noise(9000)), expected)


def test_what_is_not_accepted(small_encoder: AaSPEncoder, classifier: AaSPClassifier) -> None:
    width = small_encoder.embedding_dim
    for labels, head, sentence in (
        (("a", "b"), nn.Linear(width, 3), f"need a head of {width} -> 2 with a bias, got {width} -> 3"),
        (("a", "b"), nn.Linear(8, 2), "got 8 -> 2"),
        (("a", "b"), nn.Linear(width, 2, bias=False), "without one"),
        (("a",), nn.Linear(width, 1), "2 or more names"),
        (("a", "a"), nn.Linear(width, 2), "got 'a' twice"),
        (("a", "b\tc"), nn.Linear(width, 2), "printable"),
        ("ab", nn.Linear(width, 2), "names"),
    ):
        with pytest.raises(OptionError, match=sentence):
            AaSPClassifier(small_encoder, labels, head)
    AaSPClassifier(small_encoder, ["only"], nn.Linear(width, 1), multi_label=True)
    for top in (0, 1.5, True):
        with pytest.raises(OptionError, match="top"):
            classifier.predict(noise(9000), top=top)
    for threshold in (0, 1.1, "high", float("nan")):
        with pytest.raises(OptionError, match="threshold must be a probability"):
            classifier.events(noise(9000), threshold=threshold)
    with pytest.raises(OptionError, match="reads vectors of 384 numbers, got shape"):
        classifier.classify_vectors(np.zeros((2, 7)))
    with pytest.raises(OptionError, match="device"):
        AaSPClassifier.from_pretrained("anywhere", device="abacus")
