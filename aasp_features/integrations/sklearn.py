"""A scikit-learn transformer: sounds in, vectors out, inside pipelines and searches."""

from __future__ import annotations

from numbers import Number
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from aasp_features.encoder import AaSPEncoder

SCALED = [np.float32, np.int8, np.int16, np.int32, np.uint8]  # what embed scales; other numbers become the first


class AaSPTransformer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Vectors of sounds, by a checkpoint that is not trained further.

    X is a list, 1-D array or Series of paths or of anything that ``AaSPEncoder.embed`` takes; a column of these (a
    DataFrame or 2-D array of one column, as a ``ColumnTransformer`` gives it); or a 2-D array of numbers, a waveform
    in each row. Weights are loaded at the first ``fit`` or ``transform`` and are not pickled.

    Args:
        model: folder or Hub name; None for the bundled checkpoint.
        sample_rate: of raw waveforms, in Hz; None means 16,000.
        pooling, last_layers, batch_size: as in ``AaSPEncoder.embed``.
        device: where to compute; None is the CPU.
    """

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
        """Learn nothing; check X and the options, load the weights.

        Raises:
            ValueError: X or an option that is not accepted.
        """
        self._checked(X, reset=True)
        encoder = self._encoder()
        encoder.options(pooling=self.pooling, last_layers=self.last_layers, batch_size=self.batch_size)
        self._n_features_out = encoder.embed(np.zeros(400, np.float32), pooling=self.pooling).shape[0]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Vectors, (n, d) float32.

        Raises:
            ValueError: X is not accepted, or not like that of ``fit``.
        """
        check_is_fitted(self, "_n_features_out")
        options = {"pooling": self.pooling, "last_layers": self.last_layers, "batch_size": self.batch_size}
        checked = self._checked(X, reset=False)
        vectors: NDArray[np.float32] = self._encoder().embed(checked, self.sample_rate, **options)
        return vectors

    def _checked(self, X: Any, reset: bool) -> Any:  # noqa: N803
        """A list of sounds: X as it is if it holds sounds, else the rows of scikit-learn's 2-D array of numbers."""
        X = _column(X)  # noqa: N806
        if _is_sounds(X):
            if len(X) == 0:
                raise ValueError("X holds no sounds; give at least 1.")
            return list(X)
        return list(validate_data(self, X, reset=reset, dtype=SCALED))

    def _encoder(self) -> AaSPEncoder:
        loaded = getattr(self, "_loaded", None)
        if loaded is None or loaded[0] != (self.model, self.device):
            loaded = ((self.model, self.device), AaSPEncoder.from_pretrained(self.model, device=self.device))
            self._loaded = loaded
        encoder: AaSPEncoder = loaded[1]
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """aasp0, aasp1, …"""
        check_is_fitted(self, "_n_features_out")
        return np.array([f"aasp{index}" for index in range(self._n_features_out)], dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _column(X: Any) -> Any:  # noqa: N803
    """Return what a Series or a column of objects holds as a 1-D array; X itself if it is something else.

    Raises:
        ValueError: several columns of objects.
    """
    held = X.to_numpy() if hasattr(X, "to_numpy") else X
    if not isinstance(held, np.ndarray) or (held.ndim == 2 and held.dtype.kind not in "OUS"):
        return X
    if held.ndim == 1 or all(isinstance(item, Number) for item in held.flat):
        return X if held.ndim == 2 or isinstance(X, np.ndarray) else held
    if held.ndim != 2 or held.shape[1] != 1:
        raise ValueError(f"X holds {held.shape[1]} columns of sounds; give one column, such as X[['path']].")
    return held[:, 0]


def _is_sounds(X: Any) -> bool:  # noqa: N803
    """Is this a list of sounds, rather than one of rows of plain numbers?"""
    if isinstance(X, np.ndarray):
        return X.ndim == 1 and X.dtype.kind in "OUS" and not (X.size and isinstance(X[0], (int, float, complex)))
    if not isinstance(X, (list, tuple)):
        return False
    return not X or not isinstance(X[0], (list, int, float, complex))
