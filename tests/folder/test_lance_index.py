"""Search through an index against exact search of the same rows."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aasp_features import OptionError, search
from aasp_features.folder.lance_index import build_index, open_index
from aasp_features.folder.lance_table import connect, write_table
from aasp_features.folder.ledger import DoneSound, Outcome
from aasp_features.folder.results import Results, ResultsError, read_results
from aasp_features.similarity import SearchError

pytestmark = pytest.mark.skipif(find_spec("lancedb") is None, reason="lancedb is not installed")

RECORD = {"checkpoint": "x", "checkpoint_sha256": "0", "aasp_features": "0", "settings": {}}


def write(path: Path, vectors: np.ndarray, first: int = 0) -> Any:
    names = [f"it's {number}.wav" for number in range(first, first + len(vectors))]
    facts = {"seconds": np.ones(len(names)), "sample_rate": np.full(len(names), 8000), "channels": np.ones(len(names))}
    table = {"row": np.arange(len(names)), "path": np.array(names, object), **facts}
    sounds = [DoneSound(name, None, None, (1, 1, 1), Outcome(1, 1.0, 8000, 1)) for name in names]
    write_table(path, Results(path, vectors, table, RECORD), sounds)
    return connect(path).open_table(path.stem)


def clusters(rows: int, dtype: Any = np.float32) -> np.ndarray:
    """Vectors around a few directions, at different distances from a mean that is not 0."""
    rng = np.random.default_rng(0)
    centred = rng.normal(size=(40, 24))[rng.integers(0, 40, rows)] + 0.4 * rng.normal(size=(rows, 24))
    return (centred * rng.uniform(0.5, 2, (rows, 1)) + 3).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_hits_are_those_of_exact_search_but_few(tmp_path: Path, dtype: Any) -> None:
    out, vectors = tmp_path / "a.lance", clusters(3000, dtype)
    write(out, vectors)
    exact = read_results(out)
    assert open_index(out) is None
    build_index(out)
    right = 0
    for row in range(0, 3000, 100):
        hits, expected = search(out, f"it's {row}.wav", top=10), search(exact, f"it's {row}.wav", top=3000)
        scores = {hit.path: hit.score for hit in expected}
        assert hits[0].path == f"it's {row}.wav"
        assert [hit.score for hit in hits] == pytest.approx([scores[hit.path] for hit in hits], abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert (hits[0].row, hits[0].start, hits[0].end) == (row, 0.0, 1.0)
        right += len({hit.path for hit in hits} & {hit.path for hit in expected[:10]})
    assert right > 0.9 * 30 * 10
    assert search(out, vectors[7], top=3) == search(open_index(out), vectors[7], top=3)
    likes, unlike = [vectors[1], vectors[2]], vectors[3]
    hits, expected = search(out, likes, unlike=unlike, top=1), search(exact, likes, unlike=unlike, top=1)
    assert (hits[0].path, hits[0].score) == (expected[0].path, pytest.approx(expected[0].score, abs=1e-5))


def test_rows_that_came_or_went_since_the_index_was_built(tmp_path: Path) -> None:
    vectors = clusters(600)
    table = write(tmp_path / "a.lance", vectors[:500])
    build_index(tmp_path / "a.lance")
    table.add(write(tmp_path / "b.lance", vectors[500:], first=500).to_arrow())
    table.delete("path = 'it''s 7.wav'")
    assert search(tmp_path / "a.lance", vectors[550], top=1)[0].path == "it's 550.wav"
    assert all(hit.path != "it's 7.wav" for hit in search(tmp_path / "a.lance", vectors[7], top=100))


def test_a_sample_stands_for_the_mean_of_a_large_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aasp_features.folder.lance_index.SAMPLE_BLOCKS", 30)
    vectors = clusters(3000)
    write(tmp_path / "a.lance", vectors)
    build_index(tmp_path / "a.lance")
    table = open_index(tmp_path / "a.lance")
    starts = np.linspace(0, 3000 - 32, 30).astype(int)
    expected = np.concatenate([vectors[start : start + 32] for start in starts]).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(table.mean, expected, atol=1e-9)
    assert search(table, vectors[5], top=1)[0].row == 5


def test_an_index_by_another_distance_is_not_used(tmp_path: Path) -> None:
    from lancedb.index import IvfFlat

    table = write(tmp_path / "a.lance", clusters(300))
    table.create_index("vector", config=IvfFlat(distance_type="cosine"))
    assert open_index(tmp_path / "a.lance") is None
    assert open_index(tmp_path / "none.lance") is None
    assert open_index(tmp_path / "a.npy") is None


def test_what_is_no_table_ends_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder.lance").mkdir()
    connect(tmp_path / "other.lance").create_table("other", [{"vector": [1.0, 2.0]}])
    for name, sentence in (("folder", "no such LanceDB table"), ("other", "damaged, or not written by aasp-embed")):
        for read in (build_index, read_results, open_index):
            with pytest.raises(ResultsError, match=sentence):
                read(tmp_path / f"{name}.lance")
    write(tmp_path / "a.lance", clusters(300))
    build_index(tmp_path / "a.lance")
    with pytest.raises(SearchError, match="vectors of 24 numbers"):
        search(tmp_path / "a.lance", np.ones(3))
    with pytest.raises(OptionError, match="is needed"):
        search(tmp_path / "a.lance", tmp_path / "new.wav")
