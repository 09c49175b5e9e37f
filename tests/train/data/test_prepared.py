"""Crops from shards on the disk: those of the same corpus in memory, in any order and number of threads."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prepared_helpers import write_prepared
from train_helpers import at_its_start, metrics, tiny_recipe

from aasp_features import AaSPConfig, LogMel
from aasp_features.folder.state import seal
from aasp_features.train.data.batch import Spans
from aasp_features.train.data.cached import load_corpus
from aasp_features.train.data.crops import AHEAD, CropSampler
from aasp_features.train.data.prepared import SOUND, PreparedCorpus, is_prepared, read_prepared
from aasp_features.train.pretrain.loop import Pretraining
from aasp_features.train.recipe import Stage

CONFIG, CPU = AaSPConfig.tiny(), torch.device("cpu")
SAMPLES = [400, 559, 560, 5000, 16000, 31999, 48000, 12345]
FRAMES = [1, 1, 2, 29, 98, 198, 298, 75]


def noise(samples: list[int]) -> list[np.ndarray]:
    """Waveforms of 16 bits, as FLAC stores them."""
    rng = np.random.default_rng(0)
    return [(rng.normal(size=count) * 3000).round().clip(-32768, 32767) / 32768 for count in samples]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared corpus with the mean and std that it would have in memory."""
    folder = write_prepared(tmp_path_factory.mktemp("prepared"), noise(SAMPLES))
    cached = load_corpus(folder, CONFIG)
    return write_prepared(folder, noise(SAMPLES), mean=cached.mean, std=cached.std)


def opened(folder: Path, workers: int = 0) -> PreparedCorpus:
    return read_prepared(folder, CONFIG, CPU, workers)


@given(sound=st.integers(0, 7), at=st.floats(0, 1), size=st.floats(0, 1))
def test_a_cut_is_that_of_the_whole_sounds_log_mel(folder: Path, sound: int, at: float, size: float) -> None:
    corpus = opened(folder)
    assert corpus.frame_lengths.tolist() == FRAMES
    first = int(at * (FRAMES[sound] - 1))
    count = 1 + int(size * (FRAMES[sound] - first - 1))
    whole = LogMel(CONFIG.replace(mean=corpus.mean, std=corpus.std))(torch.tensor(noise(SAMPLES)[sound]).float())
    cut = corpus.cut(Spans(*torch.tensor([[sound], [first], [count]])), count)()
    torch.testing.assert_close(cut[0], whole[first : first + count], atol=6e-3, rtol=0)  # twice half a float16 step


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [{}, {"stretch": 0.3}, {"pitch": 2.0, "equalise_db": 3.0, "gain_db": 0.0}])
def test_batches_are_those_of_the_corpus_in_memory(folder: Path, workers: int, data: dict[str, float]) -> None:
    cached, recipe = load_corpus(folder, CONFIG), tiny_recipe(data=data)
    samplers = [CropSampler(corpus, recipe) for corpus in (cached, opened(folder, workers))]
    for step in (0, 1, 2, 9, 5):
        (one, masks), (other, same_masks) = (sampler.batch(step, lambda step: step / 10) for sampler in samplers)
        torch.testing.assert_close(one.log_mel, other.log_mel, atol=2e-3, rtol=2e-3)
        assert (one.log_mel != other.log_mel).float().mean() < 0.01  # only where rounding to float16 tips
        assert all(torch.equal(a, b) for a, b in zip(one[1:4], other[1:4], strict=True))
        assert torch.equal(torch.rand(3, generator=masks), torch.rand(3, generator=same_masks))


def test_resumed_equals_uninterrupted_with_any_number_of_workers(folder: Path, tmp_path: Path) -> None:
    def start(run: Path, workers: int) -> Pretraining:
        return Pretraining(CropSampler(opened(folder, workers), tiny_recipe(data={"workers": workers})), run, CPU)

    whole = start(tmp_path / "whole", 2)
    assert whole.run()
    for workers in (2, 0, 2):  # each part ends with crops under way
        part = start(tmp_path / "parts", workers)
        for _ in range(2):
            part.step()
        part.save()
    assert [change["what"] for change in part.changes] == ["data.workers"] * 2
    weights = part.objective.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.objective.state_dict().items())
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_crops_begun_for_a_stage_that_has_ended_are_not_used(folder: Path) -> None:
    recipe = tiny_recipe(data={"stages": [Stage(0.5, 2, 4), Stage(1.0, 4, 2)]})
    running = CropSampler(opened(folder, 2), recipe)
    for step in range(5):
        spent = 0.0 if step < 3 else 0.6  # time jumps after crops of the first stage were begun
        batch, _ = running.batch(step, lambda _, spent=spent: spent)
        expected, _ = CropSampler(opened(folder), recipe).batch(step, lambda _, spent=spent: spent)
        assert batch.columns == (2 if step < 3 else 4)
        assert all(torch.equal(a, b) for a, b in zip(batch[:4], expected[:4], strict=True))


def test_every_sound_comes_once_an_epoch(folder: Path) -> None:
    recipe = tiny_recipe(data={"stages": [Stage(1.0, 40, 2)], "mix_probability": 0.0})  # no sound has two crops
    sampler, seen = CropSampler(opened(folder, 2), recipe), Counter()
    for step in range(12):
        seen.update(sampler.batch(step, at_its_start)[0].sound.tolist())
        if step % 4 == 3:
            assert seen == dict.fromkeys(range(8), 2 * (step // 4 + 1))  # two crops of each, every epoch


def test_the_crops_of_later_steps_end_with_the_run(folder: Path) -> None:
    sampler = CropSampler(opened(folder, 1), tiny_recipe())
    for step, expected in ((0, AHEAD), (4, 1), (5, 0)):
        sampler.batch(step, lambda step: step / 6)
        assert len(sampler._begun) == expected


def test_only_the_crop_is_decoded_and_wrong_bytes_are_said(tmp_path: Path) -> None:
    folder = write_prepared(tmp_path, noise([480000]), shards=1)
    before = opened(folder).cut(Spans(*torch.tensor([[0], [900], [100]])), 100)()
    shard = folder / "shard-00000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2 : len(content) * 3 // 4] = bytes(len(content) // 4)
    shard.write_bytes(content)
    assert torch.equal(opened(folder).cut(Spans(*torch.tensor([[0], [900], [100]])), 100)(), before)
    for workers in (0, 2):
        damaged = opened(folder, workers).cut(Spans(*torch.tensor([[0], [1800], [100]])), 100)
        with pytest.raises(ValueError, match=r"sound 0 in .*shard-00000.tar cannot be decoded \(.*\); prepare the"):
            damaged()


def test_what_is_missing_or_damaged_is_said_at_the_start(tmp_path: Path) -> None:
    def refused(match: str) -> None:
        with pytest.raises(ValueError, match=match):
            opened(tmp_path)
        write_prepared(tmp_path, noise([16000] * 4))

    write_prepared(tmp_path, noise([16000] * 4))
    (tmp_path / "shard-00001.tar").unlink()
    refused("shard-00001.tar is missing; copy it again")
    (tmp_path / "shard-00001.tar").write_bytes((tmp_path / "shard-00001.tar").read_bytes()[:-512])
    refused(r"shard-00001.tar has \d+ bytes instead of \d+; copy it again")
    (tmp_path / "corpus.json").write_text((tmp_path / "corpus.json").read_text().replace('"sounds": 4', '"sounds": 5'))
    refused("corpus.json is damaged or has another format")
    (tmp_path / "corpus.json").write_text(seal({"format": 2}))
    refused("corpus.json is damaged or has another format")
    rows = np.load(tmp_path / "sounds.npy")
    for damage in (rows[:3], np.zeros(4), _changed(rows, "offset", -1), _changed(rows, "offset", 1 << 40)):
        np.save(tmp_path / "sounds.npy", damage)
        refused("sounds.npy is missing, damaged or another corpus's")
    for name, value in (("shard", 2), ("samples", 399), ("size", 0)):
        np.save(tmp_path / "sounds.npy", _changed(rows, name, value))
        refused("sounds.npy is missing, damaged or another corpus's")
    np.save(tmp_path / "sounds.npy", _changed(rows, "samples", 16001))
    with pytest.raises(ValueError, match="it is another sound than the index says"):
        opened(tmp_path).cut(Spans(*torch.tensor([[1], [0], [1]])), 1)()


def test_a_corpus_that_is_not_finished_is_refused(folder: Path, tmp_path: Path) -> None:
    assert is_prepared(folder)
    assert not is_prepared(tmp_path)
    (tmp_path / "source.json").write_text("{}")  # anybody's
    assert not is_prepared(tmp_path)
    (tmp_path / "source.json").write_text(seal({"format": 1}))
    with pytest.raises(ValueError, match="is not finished; run the same `aasp-train prepare` again"):
        is_prepared(tmp_path)


def _changed(rows: np.ndarray, name: str, value: int) -> np.ndarray:
    changed = rows.astype(SOUND)
    changed[name][1] = value
    return changed
