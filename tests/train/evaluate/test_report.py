"""Tables of results."""

from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.linear import linear_classifier
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.report import differences, fold_table, report, table


def test_report() -> None:
    task = made_task()
    results = {
        name: {"made": probe(features_of(task, strength), task, linear_classifier)}
        for name, strength in (("weak", 0.5), ("strong", 30.0))
    }
    lines = table(results).splitlines()
    assert lines[0] == "| | made | average |"
    assert lines[3].startswith("| strong | ")
    assert (
        fold_table(results, -1).splitlines()[3].startswith(f"| strong | {results['strong']['made'].folds[-1]:.1f} | ")
    )
    paired = differences([task], results, "strong").splitlines()
    assert paired[2].startswith("| weak | +")
    low = float(paired[2].split("(")[1].split(" to ")[0])
    assert low > 0
    whole = report([task], results, "linear", "1-5", last_fold=True)
    assert whole.startswith("Balanced accuracy (%), linear probe, folds 1-5:")
    assert table(results) in whole
    assert fold_table(results, -1) in whole
