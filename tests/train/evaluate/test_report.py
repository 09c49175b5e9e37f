"""Tables of results."""

import json
from dataclasses import replace
from pathlib import Path

from evaluate_helpers import features_of, made_task

from aasp_features.train.evaluate.logistic import logistic_regression
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.report import as_json, differences, last_fold_table, report, table


def test_report() -> None:
    task = replace(made_task(), missing=(Path("gone.wav"),))
    results = {
        name: {"made": probe(features_of(task, strength), task, logistic_regression)}
        for name, strength in (("strong", 30.0), ("weak", 0.5))
    }
    strong = results["strong"]["made"]
    lines = table([task], results).splitlines()
    assert lines[0] == "| | made | average |"
    assert lines[2].startswith(f"| strong | {strong.value:.1f} (")
    last = last_fold_table([task], results)
    assert last.splitlines()[2].startswith(f"| strong | {strong.splits['fold 5']:.1f} | ")
    paired = differences([task], results).splitlines()
    assert paired[2].startswith("| weak | +")
    assert float(paired[2].split("(")[1].split(" to ")[0]) > 0
    whole = report([task], results, "Logistic regression", selection=False)
    assert whole.startswith("Logistic regression; in %, 95 % intervals: made balanced accuracy.")
    assert table([task], results) in whole
    assert last in whole
    assert "made: 1 of 151 clips are missing, the first is gone.wav." in whole
    chosen = report([task], results, "Logistic regression", selection=True)
    assert "without the last fold or the test part" in chosen
    assert "The last fold alone" not in chosen
    numbers = json.loads(json.dumps(as_json([task], results, "Logistic regression", False)))
    assert numbers["results"]["strong"]["made"]["value"] == strong.value
    assert numbers["tasks"]["made"]["missing"] == ["gone.wav"]
