"""``search`` against the same in plain numpy, and its sentences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import cosine
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPConfig, AaSPEncoder, OptionError, search
from aasp_features.folder import RunOptions, embed_sounds, find_sounds
from aasp_features.similarity import SearchError, mean_vector, score_rows


@pytest.fixture(scope="module")
def collection(small_encoder: AaSPEncoder, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("search") / "emb.npy"
    embed_sounds(small_encoder, find_sounds([sounds]), out)
    return out


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(1, 400), st.booleans())
def test_order_is_that_of_plain_numpy_for_any_block(rows: int, width: int, seed: int, block: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.integers(-1, 2, (rows, width)) if ties else rng.normal(size=(rows, width)) + 3).astype(np.float32)
    query = rng.normal(size=width)
    query /= np.linalg.norm(query)
    mean = mean_vector(vectors)
    np.testing.assert_allclose(mean, vectors.mean(axis=0, dtype=np.float64), atol=1e-12)
    scores = score_rows(vectors, mean, query, block)
    assert scores.tobytes() == score_rows(vectors, mean, query).tobytes()
    centred = vectors - mean
    lengths = np.linalg.norm(centred, axis=1)
    expected = np.where(lengths > 0, centred @ query / np.where(lengths > 0, lengths, 1), 0)
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    for same in (vectors == vectors[0]).all(axis=1).nonzero():
        assert len(set(scores[same])) == 1


def test_order_and_ties() -> None:
    """Rows of a few directions, so that many are equal: the order of plain numpy, and of rows among equals."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(5, 192))[rng.integers(0, 5, 9000)].astype(np.float32) + 2
    hits = search(vectors, vectors[7], top=9000)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    expected = np.round((centred * centred[7]).sum(axis=1), 9)
    assert [hit.row for hit in hits] == np.lexsort((np.arange(9000), -expected)).tolist()
    assert search(vectors, vectors[7], top=30) == hits[:30]


def test_a_sound_finds_itself_by_path_and_by_content(
    collection: Path, sounds: Path, small_encoder: AaSPEncoder, tmp_path: Path
) -> None:
    bell = sounds / "music/bell.flac"
    hits = search(collection, bell, top=3)
    assert (len(hits), Path(hits[0].path), hits[0].start) == (3, bell, 0.0)
    assert hits[0].score == pytest.approx(1)
    (tmp_path / "copy.flac").write_bytes(bell.read_bytes())
    copied = search(collection, tmp_path / "copy.flac", top=3, model=small_encoder)
    assert [hit.row for hit in copied] == [hit.row for hit in hits]
    assert search(collection, np.load(collection)[hits[0].row], top=3) == hits


def test_several_queries_and_others() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 8)).astype(np.float32)
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    wanted = unit[[3, 4]].mean(axis=0) - 0.3 * unit[[7, 9]].mean(axis=0)
    hits = search(vectors, [vectors[3], vectors[4]], unlike=[vectors[7], vectors[9]], top=50)
    assert [hit.row for hit in hits] == np.argsort(-(unit @ wanted)).tolist()


def test_frames_have_times(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    found = find_sounds([sounds / "music"])
    embed_sounds(small_encoder, found, tmp_path / "f.npy", RunOptions(frames=True, pooling="mean"))
    hit = search(tmp_path / "f.npy", np.load(tmp_path / "f.npy")[1], top=1)[0]
    assert (hit.row, hit.start, hit.end) == (1, pytest.approx(0.1675, abs=0.01), pytest.approx(0.3275, abs=0.01))


def test_what_cannot_be_searched(collection: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.flac").write_bytes((sounds / "music/bell.flac").read_bytes())
    other = AaSPEncoder(AaSPConfig.tiny(depth=2))
    with pytest.raises(OptionError, match="is not that which made"):
        search(collection, tmp_path / "copy.flac", model=other)
    with pytest.raises(SearchError, match="at least one query"):
        search(collection, [])
    with pytest.raises(SearchError, match=r"has vectors of 384 numbers, got a query of shape \(1, 3\)"):
        search(collection, np.ones(3))
    with pytest.raises(SearchError, match="has no record of its model"):
        search(np.eye(3), tmp_path / "copy.flac")
    with pytest.raises(SearchError, match="equals the mean"):
        search(np.eye(3), np.full(3, 1 / 3))


def test_similarity_is_the_cosine_of_arrays_and_tensors() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(3, 8)).astype(np.float32), rng.normal(size=(5, 8)).astype(np.float32)
    expected = cosine(one[:, None], other[None])
    np.testing.assert_allclose(AaSPEncoder.similarity(one, other), expected, atol=1e-6)
    np.testing.assert_allclose(AaSPEncoder.similarity(torch.from_numpy(one), other[0]), expected[:, :1], atol=1e-6)
