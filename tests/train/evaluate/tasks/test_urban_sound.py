"""UrbanSound8K in miniature."""

import csv
from pathlib import Path

from public_task_helpers import mini_us8k, said

from aasp_features.train.evaluate.tasks.urban_sound import URBAN_SOUND_8K


def test_the_official_list_is_followed(tmp_path: Path) -> None:
    mini_us8k(tmp_path)
    task = URBAN_SOUND_8K.read(tmp_path)
    with (tmp_path / "metadata" / "UrbanSound8K.csv").open() as file:
        listed = {f"audio/fold{row['fold']}/{row['slice_file_name']}": row for row in csv.DictReader(file)}
    expected = {clip: (row["class"], row["fsID"], row["fold"]) for clip, row in listed.items()}
    assert said(task, tmp_path) == expected
    assert task.folds == [str(fold) for fold in range(1, 11)]  # 10 after 9
    assert (len(task.classes), task.seconds, task.metric.name) == (10, 4.0, "accuracy")
    assert sum(task.expected.values()) == 8732
    assert task.found == dict.fromkeys(task.folds, 2)
