"""The transformer inside scikit-learn's own checks and tools."""

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from aasp_features import AaSPEncoder
from aasp_features.integrations.sklearn import AaSPTransformer
from aasp_features.sounds.discovery import find_sounds

NOISE = {"check_methods_subset_invariance": "asks for 1e-7 beside 0; batches of other sizes differ by 2e-7"}


@parametrize_with_checks([AaSPTransformer(pooling="mean")], expected_failed_checks=lambda estimator: NOISE)
@pytest.mark.usefixtures("shallow")
@pytest.mark.filterwarnings("ignore:a recording of:UserWarning")
def test_scikit_learns_own_checks(estimator: AaSPTransformer, check: object) -> None:
    check(estimator)


@pytest.fixture
def paths(sounds: Path) -> list[str]:
    return [sound.name for sound in find_sounds([sounds]).sounds]


def test_paths_arrays_and_rows(checkpoint: Path, paths: list[str]) -> None:
    encoder, transformer = AaSPEncoder.from_pretrained(checkpoint), AaSPTransformer(str(checkpoint))
    np.testing.assert_array_equal(transformer.fit_transform(paths), encoder.embed(paths))
    np.testing.assert_array_equal(transformer.transform(np.array(paths)), encoder.embed(paths))
    waves = np.random.default_rng(0).normal(size=(3, 8000)).astype(np.float32) * 0.1
    np.testing.assert_array_equal(transformer.fit_transform(waves), encoder.embed(waves))
    np.testing.assert_array_equal(transformer.transform([(wave, 8000) for wave in waves]), encoder.embed(waves, 8000))


def test_rows_of_integers_are_scaled_by_their_range(checkpoint: Path) -> None:
    encoder, transformer = AaSPEncoder.from_pretrained(checkpoint), AaSPTransformer(str(checkpoint))
    waves = np.random.default_rng(0).normal(size=(3, 8000)) * 0.1
    whole = (waves * 32768).astype(np.int16)
    expected = encoder.embed(whole.astype(np.float32) / 32768)
    np.testing.assert_allclose(transformer.fit_transform(whole), expected, atol=1e-5)
    assert np.abs(transformer.fit_transform(waves) - expected).max() < 0.1


def test_pickles_without_weights_and_clones(checkpoint: Path, paths: list[str]) -> None:
    transformer = AaSPTransformer(str(checkpoint), pooling="mean").fit(paths)
    data = pickle.dumps(transformer)
    assert len(data) < 5000
    np.testing.assert_array_equal(pickle.loads(data).transform(paths), transformer.transform(paths))
    assert clone(transformer).get_params() == transformer.get_params()


def test_pipelines_searches_and_data_frames(checkpoint: Path, paths: list[str]) -> None:
    pytest.importorskip("pandas")
    labels = [Path(path).parent.name in ("music", "voice") for path in paths]
    pipeline = make_pipeline(AaSPTransformer(str(checkpoint)), LogisticRegression(max_iter=2000))
    search = GridSearchCV(pipeline, {"aasptransformer__pooling": ["mean", "cls"]}, cv=2).fit(paths, labels)
    assert search.predict(paths).shape == (12,)
    frame = AaSPTransformer(str(checkpoint), pooling="mean").set_output(transform="pandas").fit_transform(paths)
    assert list(frame.columns[:2]) == ["aasp0", "aasp1"]
    assert frame.shape == (12, 48)


def test_columns_of_paths(checkpoint: Path, paths: list[str]) -> None:
    """A Series and a DataFrame of one column, as pandas users hold them, and what a ColumnTransformer passes on."""
    pandas = pytest.importorskip("pandas")
    transformer = AaSPTransformer(str(checkpoint), pooling="mean")
    expected = AaSPEncoder.from_pretrained(checkpoint).embed(paths, pooling="mean")
    frame = pandas.DataFrame({"path": paths, "year": range(len(paths))}, index=range(100, 100 + len(paths)))
    table = pytest.importorskip("pyarrow").table({"path": paths})
    for given in (frame["path"], frame[["path"]], frame[["path"]].to_numpy(), frame["path"].astype(object), table):
        np.testing.assert_array_equal(transformer.fit_transform(given), expected)
    columns = ColumnTransformer([("sound", transformer, ["path"]), ("rest", "passthrough", ["year"])])
    np.testing.assert_allclose(columns.fit_transform(frame)[:, :-1], expected, rtol=1e-6)
    waves = pandas.DataFrame(np.random.default_rng(0).normal(size=(3, 8000)) * 0.1)
    assert transformer.fit_transform(waves).shape == (3, 48)
    whole = pandas.Series([row.astype(np.float32) for row in waves.to_numpy()])
    np.testing.assert_array_equal(transformer.transform(whole), transformer.transform(waves.astype(np.float32)))
    with pytest.raises(ValueError, match=r"X holds 2 columns of sounds; give one column, such as X\[\['path'\]\]"):
        transformer.fit(frame)


def test_sentences(checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="X holds no sounds"):
        AaSPTransformer(str(checkpoint)).fit([])
    with pytest.raises(ValueError, match="pooling must be one of"):
        AaSPTransformer(str(checkpoint), pooling="max").fit(["a.wav"])
