"""A scikit-learn transformer: sounds in, vectors out, inside pipelines and searches."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aasp_features.encoder import AaSPEncoder

SCALED = [np.float32, np.int8, np.int16, np.int32, np.uint8]  # dtypes that embed accepts; others become float32


class AaSPTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A frozen checkpoint that turns sounds into vectors.

    X is one of three: a list, 1-D array, Series or Arrow array of anything that ``AaSPEncoder.embed`` takes; one column
    of these (a pandas or polars DataFrame, an Arrow table or a 2-D array, as a ``ColumnTransformer`` passes it); or a
    2-D array of numbers, one waveform a row.
    Weights are loaded by the first ``fit`` or ``transform`` and are not pickled.

    Args:
        model: folder or Hub name of the checkpoint (default: the bundled one).
        sample_rate: rate of raw waveforms, in Hz (default: 16,000).
        pooling, last_layers, batch_size: as in ``AaSPEncoder.embed``.
        device: device to compute on (default: the CPU).
    """

    _loaded: tuple[tuple[str | None, str | None], AaSPEncoder]  # from model and device

    def __init__(
        self,
        model: str | None = None,
        *,
        sample_rate: int | None = None,
        pooling: Any = None,
        last_layers: int | None = None,
        batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        self.model = model
        self.sample_rate = sample_rate
        self.pooling = pooling
        self.last_layers = last_layers
        self.batch_size = batch_size
        self.device = device

    def fit(self, X: Any, y: Any = None) -> AaSPTransformer:  # noqa: N803 (scikit-learn's name)
        """Check X and the options, and load the weights; nothing is learnt.

        Raises:
            ValueError: X or an option is not accepted.
        """
        self._sounds(X, reset=True)
        self._n_features_out = self._embed(np.zeros(400, np.float32)).shape[0]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Return the vectors of X, (n, d) float32.

        Raises:
            ValueError: X is not accepted, or differs in shape from that of ``fit``.
        """
        check_is_fitted(self, "_n_features_out")
        return self._embed(self._sounds(X, reset=False), self.sample_rate)

    def _sounds(self, X: Any, reset: bool) -> list[Any]:  # noqa: N803
        """Return X as a list of sounds: its items, or the rows of a 2-D array of numbers, checked by scikit-learn."""
        X = _column(X)  # noqa: N806
        if _is_sounds(X):
            if len(X) == 0:
                raise ValueError("X holds no sounds; give at least 1.")
            return list(X)
        return list(validate_data(self, X, reset=reset, dtype=SCALED))

    def _embed(self, sounds: Any, sample_rate: int | None = None) -> NDArray[np.float32]:
        source = (self.model, self.device)
        if not hasattr(self, "_loaded") or self._loaded[0] != source:
            self._loaded = source, AaSPEncoder.from_pretrained(self.model, device=self.device)
        options = {"pooling": self.pooling, "last_layers": self.last_layers, "batch_size": self.batch_size}
        vectors: NDArray[np.float32] = self._loaded[1].embed(sounds, sample_rate, **options)
        return vectors

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return aasp0, aasp1 and so on."""
        check_is_fitted(self, "_n_features_out")
        return np.array([f"aasp{index}" for index in range(self._n_features_out)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _column(X: Any) -> Any:  # noqa: N803
    """Return a Series, Arrow array or column of objects as a 1-D array, and any other X as it is."""
    held = np.asarray(X) if hasattr(X, "__array__") else X
    if not isinstance(held, np.ndarray) or (held.ndim == 2 and held.dtype.kind not in "OUS"):
        return X
    if held.ndim == 1 or all(isinstance(item, Number) for item in held.flat):
        return X if held.ndim == 2 or isinstance(X, np.ndarray) else held
    if held.ndim != 2 or held.shape[1] != 1:
        raise ValueError(f"X holds {held.shape[1]} columns of sounds; give one column, such as X[['path']].")
    return held[:, 0]


def _is_sounds(X: Any) -> bool:  # noqa: N803
    """Return whether X holds sounds, rather than rows of plain numbers."""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype.kind in "OUS" and not (X.size and isinstance(X[0], (int, float, complex)))
    if not isinstance(X, (list, tuple)):
        return False
    return not X or not isinstance(X[0], (list, int, float, complex))
