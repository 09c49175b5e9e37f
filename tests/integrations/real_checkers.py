"""Run other projects' own checkers, where they are installed, and print what they say.

``pip install --no-deps hearvalidator xares && pip install loguru scikit-learn``, then
``python tests/integrations/real_checkers.py``. TensorFlow, which HEAR's validator imports but needs only for TensorFlow
models, is replaced by an empty module.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
import warnings
from collections.abc import Callable


def hear() -> str:
    """hearvalidator, on this package's HEAR module; warnings count."""
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.Module = type("Module", (), {})
    tensorflow.__spec__ = importlib.util.spec_from_loader("tensorflow", None)
    sys.modules.setdefault("tensorflow", tensorflow)
    from hearvalidator.validate import ValidateModel

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ValidateModel("aasp_features.integrations.hear", "", device="cpu")()
    ours = [str(warning.message) for warning in caught if "hearvalidator" in str(warning.filename)]
    return f"passed, {len(ours)} warnings" + "".join(f"; {text}" for text in ours)


def xares() -> str:
    """X-ARES' audio_encoder_checker."""
    from xares.audio_encoder_checker import check_audio_encoder

    from aasp_features.integrations.xares import AaSPXaresEncoder

    return "passed" if check_audio_encoder(AaSPXaresEncoder()) else "FAILED"


def sklearn() -> str:
    """scikit-learn's check_estimator."""
    from sklearn.utils.estimator_checks import check_estimator

    from aasp_features.integrations.sklearn import AaSPTransformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(
            AaSPTransformer(pooling="mean"),
            expected_failed_checks={
                "check_methods_subset_invariance": "asks for 1e-7 beside 0; batches of other sizes differ by 2e-7"
            },
            on_fail=None,
        )
    states = [result["status"] for result in results]
    failed = [f"; {result['check_name']}: {result['exception']}" for result in results if result["status"] == "failed"]
    return ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states))) + "".join(failed)


CHECKERS: dict[str, tuple[str, Callable[[], str]]] = {
    "HEAR": ("hearvalidator", hear),
    "X-ARES": ("xares", xares),
    "scikit-learn": ("sklearn", sklearn),
}


def main() -> None:
    print("| checker | version | result |\n|---|---|---|")
    for name, (package, check) in CHECKERS.items():
        if importlib.util.find_spec(package) is None:
            print(f"| {name} | not installed | |")
            continue
        from importlib.metadata import version

        label = version("scikit-learn" if package == "sklearn" else package)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                result = check()
        except BaseException as error:  # the validator's own errors are no Exception
            result = f"FAILED: {type(error).__name__}: {error}"
        print(f"| {name} | {label} | {result} |", flush=True)


if __name__ == "__main__":
    main()
