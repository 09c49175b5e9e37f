"""``search`` against the same in plain numpy, and its sentences."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aasp_features import AaSPConfig, AaSPEncoder, search
from aasp_features.folder import RunOptions, embed_sounds, find_sounds
from aasp_features.similarity import SearchError, mean_vector, nearest_rows


@pytest.fixture(scope="module")
def collection(small_encoder: AaSPEncoder, sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("search") / "emb.npy"
    embed_sounds(small_encoder, find_sounds([sounds]), out)
    return out


@given(
    st.integers(1, 400), st.integers(2, 9), st.integers(0, 2**32 - 1), st.sampled_from([64, 128, 4096]), st.booleans()
)
def test_order_is_that_of_plain_numpy_for_any_block(rows: int, width: int, seed: int, block: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    vectors = (rng.integers(-1, 2, (rows, width)) if ties else rng.normal(size=(rows, width)) + 3).astype(np.float32)
    query = rng.normal(size=width)
    query /= np.linalg.norm(query)
    mean = mean_vector(vectors, block)
    np.testing.assert_array_equal(mean, mean_vector(vectors))
    np.testing.assert_allclose(mean, vectors.mean(axis=0, dtype=np.float64), atol=1e-12)
    found = nearest_rows(vectors, mean, query, 10, block)
    assert found == nearest_rows(vectors, mean, query, 10)
    centred = vectors - mean
    scores = centred @ query / np.maximum(np.linalg.norm(centred, axis=1), 1e-300)
    np.testing.assert_allclose([score for _, score in found], np.sort(scores)[::-1][:10], atol=1e-9)
    np.testing.assert_allclose(scores[[row for row, _ in found]], [score for _, score in found], atol=1e-9)
    for (row, score), (other, lower) in pairwise(found):
        assert score > lower or (score == lower and row < other)


def test_a_sound_finds_itself_by_path_and_by_content(
    collection: Path, sounds: Path, small_encoder: AaSPEncoder, tmp_path: Path
) -> None:
    bell = sounds / "music/bell.flac"
    hits = search(collection, bell, top=3)
    assert (len(hits), Path(hits[0].path), hits[0].start) == (3, bell, None)
    assert hits[0].score == pytest.approx(1)
    (tmp_path / "copy.flac").write_bytes(bell.read_bytes())
    copied = search(collection, tmp_path / "copy.flac", top=3, encoder=small_encoder)
    assert [hit.row for hit in copied] == [hit.row for hit in hits]
    assert search(collection, np.load(collection)[hits[0].row], top=3) == hits


def test_several_queries_and_others() -> None:
    rng = np.random.default_rng(0)
    vectors, names = rng.normal(size=(50, 8)), [f"{row}.wav" for row in range(50)]
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    wanted = unit[[3, 4]].mean(axis=0) - unit[[7, 9]].mean(axis=0)
    hits = search((vectors, names), ["3.wav", vectors[4]], unlike=["7.wav", "9.wav"], top=50)
    assert [hit.row for hit in hits] == np.argsort(-(unit @ wanted)).tolist()
    assert {"7.wav", "9.wav"}.isdisjoint({hit.path for hit in hits[:20]})


def test_frames_have_times(small_encoder: AaSPEncoder, sounds: Path, tmp_path: Path) -> None:
    found = find_sounds([sounds / "music"])
    embed_sounds(small_encoder, found, tmp_path / "f.npy", RunOptions(frames=True, pooling="mean"))
    hit = search(tmp_path / "f.npy", np.load(tmp_path / "f.npy")[1], top=1)[0]
    assert (hit.row, hit.start, hit.end) == (1, pytest.approx(0.1675, abs=0.01), pytest.approx(0.3275, abs=0.01))


def test_what_cannot_be_searched(collection: Path, sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.flac").write_bytes((sounds / "music/bell.flac").read_bytes())
    other = AaSPEncoder(AaSPConfig.tiny(depth=2))
    with pytest.raises(SearchError, match="other weights than those of"):
        search(collection, tmp_path / "copy.flac", encoder=other)
    with pytest.raises(SearchError, match="no query"):
        search(collection, [])
    with pytest.raises(SearchError, match=r"needs \(1536,\)"):
        search(collection, np.ones(3))
    with pytest.raises(SearchError, match="no record of its checkpoint"):
        search((np.eye(3), ["a", "b", "c"]), tmp_path / "copy.flac")
    with pytest.raises(SearchError, match="equals the mean"):
        search((np.eye(3), ["a", "b", "c"]), "a", unlike="a")
