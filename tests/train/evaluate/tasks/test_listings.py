"""Every public task's lists, on miniatures of the official distributions."""

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest
from public_task_helpers import CREMA_D_SPEAKERS, ESC50_HEADER, MINIATURES, mini_esc50, said, write_clip, write_text

from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.tasks import listings
from aasp_features.train.evaluate.tasks.listings import ClipFiles, part_of_group
from aasp_features.train.evaluate.tasks.public_tasks import PUBLIC_TASKS

SPEECH, MAN, GURGLING = "/m/09x0r", "/m/05zppz", "/t/dd00088"
PARTS = {"train": "train", "valid": "validation", "test": "test"}


def miniature(name: str, folder: Path) -> Task:
    MINIATURES[name](folder)
    return PUBLIC_TASKS[name].read(folder)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


def test_esc50(tmp_path: Path) -> None:
    task = miniature("esc50", tmp_path)
    expected = {
        f"audio/{row['filename']}": (row["category"], row["src_file"], row["fold"])
        for row in rows_of(tmp_path / "meta" / "esc50.csv")
    }
    assert said(task, tmp_path) == expected
    assert (task.folds, task.seconds, task.metric.name) == (list("12345"), 5.0, "accuracy")
    assert (task.found, task.missing) == (dict.fromkeys("12345", 6), ())
    (tmp_path / "audio" / "3-3000-B-0.wav").unlink()
    task = PUBLIC_TASKS["esc50"].read(tmp_path)
    assert (task.missing, task.found["3"]) == ((tmp_path / "audio" / "3-3000-B-0.wav",), 5)


def test_esc10_is_what_the_list_marks(tmp_path: Path) -> None:
    task = miniature("esc10", tmp_path)
    assert {label for label, _, _ in said(task, tmp_path).values()} == {"dog", "rooster"}
    assert len(task.files) == 20
    assert set(task.classes) < set(PUBLIC_TASKS["esc50"].class_names.split())


def test_other_folds_and_classes_are_a_sentence(tmp_path: Path) -> None:
    rows = mini_esc50(tmp_path)
    write_text(tmp_path / "meta" / "esc50.csv", [ESC50_HEADER, *(row.replace(",dog,", ",wolf,") for row in rows)])
    with pytest.raises(ValueError, match="esc50: 'wolf' is not one of its 50 classes"):
        PUBLIC_TASKS["esc50"].read(tmp_path)
    write_text(tmp_path / "meta" / "esc50.csv", [ESC50_HEADER, "1-1-A-0.wav,6,0,dog,True,1,A"])
    with pytest.raises(ValueError, match=r"1-1-A-0\.wav is in the part '6', but parts must be 1, 2, 3, 4, 5\."):
        PUBLIC_TASKS["esc50"].read(tmp_path)


@pytest.mark.data
def test_the_names_of_real_clips_say_their_folds(shared_audio: Path, tmp_path: Path) -> None:
    """ESC-10 put back into its layout, as .flac under a list that says .wav."""
    rows = rows_of(shared_audio / "tasks" / "esc10" / "labels.csv")
    names = {"baby_cry": "crying_baby", "dog_bark": "dog", "fire_crackling": "crackling_fire"}
    names |= {"person_sneeze": "sneezing"}
    lines, audio = [ESC50_HEADER], tmp_path / "audio"
    audio.mkdir()
    for row in rows:
        source = shared_audio / "tasks" / "esc10" / row["file"]
        name = source.stem.removeprefix(f"{row['label']}_")
        (audio / f"{name}.flac").symlink_to(source)
        category = names.get(row["label"], row["label"])
        lines.append(f"{name}.wav,{name[0]},0,{category},True,{row['clip_id']},{name[-1]}")
    write_text(tmp_path / "meta" / "esc50.csv", lines)
    task = PUBLIC_TASKS["esc10"].read(tmp_path)
    assert task.found == dict(task.expected)
    assert task.missing == ()
    assert {file.resolve(): part for file, part in zip(task.files, task.parts, strict=True)} == {
        (shared_audio / "tasks" / "esc10" / row["file"]).resolve(): row["fold"] for row in rows
    }


def test_urban_sound(tmp_path: Path) -> None:
    task = miniature("us8k", tmp_path)
    assert said(task, tmp_path) == {
        f"audio/fold{row['fold']}/{row['slice_file_name']}": (row["class"], row["fsID"], row["fold"])
        for row in rows_of(tmp_path / "metadata" / "UrbanSound8K.csv")
    }
    assert task.folds == [str(fold) for fold in range(1, 11)]  # 10 after 9
    assert task.found == dict.fromkeys(task.folds, 2)


def test_audioset(tmp_path: Path) -> None:
    """Its files are named in the ways of several distributions."""
    balanced = {
        "balanced_train_segments/Y--aaaaaaaaa.wav": ({SPEECH, GURGLING}, "--aaaaaaaaa", "train"),
        "balanced_train_segments/Yaaaaaaaaaa_30.000.flac": ({SPEECH}, "Yaaaaaaaaaa", "train"),
    }
    unbalanced = {
        "unbalanced_train_segments_part07/unbalanced1_30000_40000.wav": ({GURGLING}, "unbalanced1", "train"),
        "audio/unbalanced_train_segments/deep/unbalanced2.wav": ({MAN}, "unbalanced2", "train"),
    }
    evaluation = {"eval_segments/evaluation1.wav": ({SPEECH, MAN}, "evaluation1", "test")}
    small, large = miniature("as20k", tmp_path), PUBLIC_TASKS["as2m"].read(tmp_path)
    assert said(small, tmp_path) == balanced | evaluation
    assert said(large, tmp_path) == balanced | unbalanced | evaluation
    assert small.classes == (SPEECH, MAN, GURGLING)  # in the order of the official indices
    assert large.missing == small.missing == (tmp_path / "eval_segments" / "evaluation2.wav",)
    assert large.found == {"train": 4, "test": 1}
    write_clip(tmp_path / "balanced_train_segments" / "evaluation2.wav")  # in the folder of another part
    assert len(PUBLIC_TASKS["as20k"].read(tmp_path).missing) == 1


@pytest.mark.parametrize(
    ("stem", "video"),
    [
        ("Yaaaaaaaaaa", "Yaaaaaaaaaa"),
        ("YYaaaaaaaaaa", "Yaaaaaaaaaa"),
        ("Y-_aaaaaaaaa_30", "-_aaaaaaaaa"),
        ("-_aaaaaaaaa_30.000_40.000", "-_aaaaaaaaa"),
        ("-_aaaaaaaaa_30_40_50", ""),
        ("-_aaaaaaaaab", ""),
        ("unlisted---", ""),
        ("", ""),
    ],
)
def test_names_of_audiosets_files(stem: str, video: str) -> None:
    assert listings.listed_id(stem, {"Yaaaaaaaaaa", "-_aaaaaaaaa"}) == video


def test_wrong_lists_of_audioset_are_a_sentence(tmp_path: Path) -> None:
    MINIATURES["as20k"](tmp_path)
    write_text(tmp_path / "eval_segments.csv", ["evaluation1, 30.000, 40.000"])
    with pytest.raises(ValueError, match="must be YTID, start_seconds, end_seconds, positive_labels"):
        PUBLIC_TASKS["as20k"].read(tmp_path)


@pytest.mark.parametrize("moved", [False, True], ids=["Zenodo", "Hub"])
def test_fsd50k(moved: bool, tmp_path: Path) -> None:
    task = miniature("fsd50k", tmp_path)
    if moved:
        for official, there in {"ground_truth": "labels", "dev_audio": "clips/dev", "eval_audio": "clips/eval"}.items():
            (tmp_path / there).parent.mkdir(exist_ok=True)
            (tmp_path / f"FSD50K.{official}").rename(tmp_path / there)
        task = PUBLIC_TASKS["fsd50k"].read(tmp_path)
    dev, evaluation = ("clips/dev", "clips/eval") if moved else ("FSD50K.dev_audio", "FSD50K.eval_audio")
    assert said(task, tmp_path) == {
        f"{dev}/1.wav": ({"Bark", "Dog"}, "1", "train"),
        f"{dev}/2.wav": ({"Cat"}, "2", "train"),
        f"{dev}/3.wav": ({"Dog"}, "3", "validation"),
        f"{evaluation}/4.wav": ({"Cat", "Dog"}, "4", "test"),
    }
    assert (task.classes, task.metric.name) == (("Bark", "Cat", "Dog"), "mAP")
    assert task.found == {"train": 2, "validation": 1, "test": 1}


def test_a_wrong_vocabulary_is_a_sentence(tmp_path: Path) -> None:
    MINIATURES["fsd50k"](tmp_path)
    write_text(tmp_path / "FSD50K.ground_truth" / "vocabulary.csv", ["Bark"])
    with pytest.raises(ValueError, match=r"vocabulary\.csv: every row must be like '0,Accelerating"):
        PUBLIC_TASKS["fsd50k"].read(tmp_path)


def test_speech_commands(tmp_path: Path) -> None:
    """What no list names trains, and converted clips are those of the lists."""
    task, parts = miniature("spcv2", tmp_path), {"0a": "train", "0b": "validation", "0c": "test"}
    assert said(task, tmp_path) == {
        f"{word}/{speaker}_nohash_0.wav": (word, speaker, part)
        for word in ("backward", "zero")
        for speaker, part in parts.items()
    }
    for clip in sorted(tmp_path.glob("zero/*.wav")):
        clip.rename(clip.with_suffix(".flac"))
    (tmp_path / "backward" / "0c_nohash_0.wav").unlink()
    task = PUBLIC_TASKS["spcv2"].read(tmp_path)
    assert said(task, tmp_path)["zero/0c_nohash_0.flac"] == ("zero", "0c", "test")
    assert task.missing == (tmp_path / "backward" / "0c_nohash_0.wav",)
    assert task.found == {"train": 2, "validation": 2, "test": 1}
    write_clip(tmp_path / "hello" / "0a_nohash_0.wav")
    with pytest.raises(ValueError, match="spcv2: 'hello' is not one of its 35 classes"):
        PUBLIC_TASKS["spcv2"].read(tmp_path)


def test_voxceleb(tmp_path: Path) -> None:
    task, parts, expected = miniature("vc1", tmp_path), {"1": "train", "2": "validation", "3": "test"}, {}
    for line in (tmp_path / "iden_split.txt").read_text().split("\n")[:-1]:
        number, name = line.split(" ")
        speaker, video = name.split("/")[:2]
        expected[f"wav/{name}"] = (speaker, f"{speaker}/{video}", parts[number])
    assert said(task, tmp_path) == expected
    assert task.classes == ("id10001", "id10002")


@pytest.mark.parametrize(
    "line", ["1 id10001/00001.wav", "id10001/1zcIwhmdeo4/00001.wav", "4 id10001/1zcIwhmdeo4/1.wav"]
)
def test_wrong_lines_of_voxceleb_are_a_sentence(line: str, tmp_path: Path) -> None:
    write_text(tmp_path / "iden_split.txt", [line])
    with pytest.raises(ValueError, match=r"must be like '1 id10001/VIDEO|in the part '4', but parts must be 1, 2, 3"):
        PUBLIC_TASKS["vc1"].read(tmp_path)


def test_voxforge(tmp_path: Path) -> None:
    task = miniature("voxforge", tmp_path)
    found = said(task, tmp_path)
    for name in (f"{language}{number}" for language in ("de", "fr") for number in range(4)):
        for archive in (f"{name}-20080318-kdl", f"{name}-20090401-abc"):
            assert found[f"{name[:2]}/{archive}/wav/b0001.wav"] == (name[:2], name, part_of_group(name))
    nobody = found["it/Trunk/anonymous-20110402-ujy/flac/it-1.flac"]
    assert nobody[:2] == ("it", "anonymous-20110402-ujy")
    assert (len(found), task.found) == (17, {"whole": 17})
    assert "hash of the uploader" in task.note


def test_names_of_archives() -> None:
    for archive in ("Aaron-20080318-kdl", "Aaron-20080318"):
        assert listings.uploader(archive) == "Aaron"
    assert listings.uploader("a-b-20080318-kdl") == "a-b"
    for archive in ("anonymous-20110402-ujy", "whatever"):
        assert listings.uploader(archive) == archive


def test_crema_d(tmp_path: Path) -> None:
    """Speakers are kept whole, and the list tells which clips are missing."""
    task = miniature("cremad", tmp_path)
    assert said(task, tmp_path) == {
        f"AudioWAV/{speaker}_{sentence}_{emotion}_XX.wav": (emotion, str(speaker), part)
        for speaker, part in CREMA_D_SPEAKERS.items()
        for sentence in ("DFA", "IEO")
        for emotion in ("ANG", "SAD")
    }
    assert (task.found, task.missing) == ({"whole": 16}, ())
    names = [path.stem for path in sorted((tmp_path / "AudioWAV").iterdir())]
    rows = [f'{number},"{name}"' for number, name in enumerate([*names, "1091_WSI_SAD_XX"], start=1)]
    write_text(tmp_path / "SentenceFilenames.csv", ['"Stimulus_Number","Filename"', *rows])
    task = PUBLIC_TASKS["cremad"].read(tmp_path)
    assert (len(task.files), task.missing) == (16, (tmp_path / "AudioWAV" / "1091_WSI_SAD_XX.wav",))


def test_the_split_has_evars_speakers() -> None:
    """63, 9 and 19, as evar/utils/download_cremad.py says."""
    counts = Counter(map(listings.part_of_speaker, listings.SPEAKERS))
    assert counts == {"train": 63, "validation": 9, "test": 19}


@pytest.mark.parametrize("name", ["hello", "2001_DFA_ANG_XX"])
def test_other_names_in_crema_d_are_a_sentence(name: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "AudioWAV" / f"{name}.wav")
    with pytest.raises(ValueError, match=rf"{name}\.wav must be named like 1001_DFA_ANG_XX\.wav"):
        PUBLIC_TASKS["cremad"].read(tmp_path)


@pytest.mark.parametrize("genres", ["genres", "genres_original", "Data/genres_original"])
def test_gtzan(genres: str, tmp_path: Path) -> None:
    MINIATURES["gtzan"](tmp_path)
    (tmp_path / "Data").mkdir()
    (tmp_path / "genres").rename(tmp_path / genres)
    task, expected = PUBLIC_TASKS["gtzan"].read(tmp_path), {}
    for name, part in PARTS.items():
        for clip in (tmp_path / f"{name}_filtered.txt").read_text().split():
            expected[f"{genres}/{clip}"] = (clip.split("/")[0], clip, part)
    assert said(task, tmp_path) == expected


def test_the_lists_of_gtzan_have_to_be_there(tmp_path: Path) -> None:
    MINIATURES["gtzan"](tmp_path)
    table = tmp_path / "valid_filtered.txt"
    table.unlink()
    with pytest.raises(ValueError, match=r"valid_filtered\.txt does not exist; download the three lists from https://"):
        PUBLIC_TASKS["gtzan"].read(tmp_path)
    write_text(table, ["blues.00029.wav"])
    with pytest.raises(ValueError, match=r"'blues\.00029\.wav' must be like 'blues/blues\.00029\.wav'"):
        PUBLIC_TASKS["gtzan"].read(tmp_path)


def test_nsynth(tmp_path: Path) -> None:
    task, expected = miniature("nsynth", tmp_path), {}
    for name, part in PARTS.items():
        for note, values in json.loads((tmp_path / f"nsynth-{name}" / "examples.json").read_text()).items():
            clip = f"nsynth-{name}/audio/{note}.wav"
            expected[clip] = (values["instrument_family_str"], values["instrument_str"], part)
    assert said(task, tmp_path) == expected
    assert task.found == {"train": 6, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": {}}', "a has no instrument_family_str"),
        ('{"a": 1}', "a has"),
    ],
)
def test_wrong_lists_of_nsynth_are_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    write_text(tmp_path / "nsynth-train" / "examples.json", [text])
    with pytest.raises(ValueError, match=sentence):
        PUBLIC_TASKS["nsynth"].read(tmp_path)


def test_surge(tmp_path: Path) -> None:
    """Tones are kept whole, and every tone has every pitch."""
    task = miniature("surge", tmp_path)
    assert said(task, tmp_path) == {
        f"tone-{tone}-velocity64/{pitch}.wav": (pitch, f"tone-{tone}-velocity64", part)
        for tone, part in {"a": "train", "b": "validation", "c": "test"}.items()
        for pitch in ("21", "99", "108")
    }
    assert task.classes == ("21", "99", "108")  # by number
    gone = tmp_path / "tone-b-velocity64" / "99.wav"
    gone.unlink()
    task = PUBLIC_TASKS["surge"].read(tmp_path)
    assert (task.missing, task.found) == ((gone.with_suffix(".ogg"),), {"train": 3, "validation": 2, "test": 3})


@pytest.mark.parametrize(
    ("split", "sentence"),
    [
        ("", r"dataset_surge_tone_splits\.csv does not exist; download the list from https://"),
        ("train", "has none of the 1 folders that"),
        ("training", "a is in the part 'training', but parts must be train, valid, test"),
    ],
)
def test_the_list_of_surge_has_to_be_there(split: str, sentence: str, tmp_path: Path) -> None:
    if split:
        (tmp_path / "dataset_surge_tone_splits.csv").write_text(f"tone,split\na,{split}\n")
    with pytest.raises(ValueError, match=sentence):
        PUBLIC_TASKS["surge"].read(tmp_path)


def test_shares_of_a_split_by_hash() -> None:
    counts = Counter(part_of_group(f"speaker {number}") for number in range(10_000))
    shares = [counts[part] / 10_000 for part in ("train", "validation", "test")]
    assert shares == pytest.approx([0.70, 0.15, 0.15], abs=0.02)
    for name in ("Aaron", "anonymous-20110402-ujy", "é", ""):  # else numbers could not be compared with older ones
        share = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 16**16
        assert part_of_group(name) == ("train" if share < 0.7 else "validation" if share < 0.85 else "test")


def test_the_listed_file_or_one_of_its_name(tmp_path: Path) -> None:
    for name in ("a.wav", "a.flac", "b.mp3", "b.flac", "c.OGG", "d.txt", "e.00001.flac", ".f.wav"):
        (tmp_path / name).touch()
    clips = ClipFiles()
    expected = {"a.wav": "a.wav", "a.flac": "a.flac", "b.wav": "b.flac", "c.wav": "c.OGG"}
    expected["e.00001.wav"] = "e.00001.flac"
    assert {name: clips.find(tmp_path / name).name for name in expected} == expected
    for absent in ("d.wav", "e.wav", ".f.flac", "deep/a.wav"):
        assert clips.find(tmp_path / absent) == tmp_path / absent
    assert [path.name for path in clips.each(tmp_path)] == ["a.wav", "b.flac", "c.OGG", "e.00001.flac"]
    assert clips.each(tmp_path / "gone") == []


def test_lines_and_rows(tmp_path: Path) -> None:
    place = tmp_path / "list"
    place.write_bytes("\ufeffa b\r\n\n  c \n".encode())
    assert listings.read_lines(place) == ["a b", "c"]
    place.write_text('a,b\n1,"x,y"\n2,z\n')
    assert listings.read_rows(place, ["b"]) == [{"a": "1", "b": "x,y"}, {"a": "2", "b": "z"}]
    with pytest.raises(ValueError, match="gone does not exist"):
        listings.read_lines(tmp_path / "gone")
    with pytest.raises(ValueError, match="cannot be read as UTF-8 text"):
        listings.read_lines(tmp_path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a\n1\n", "row 2 has no 'b'"),
        ("a,b\n1,2\n3\n", "row 3 has no 'b'"),
        ("a,b\n1,\n", "row 2 has no 'b'"),
        ("a,b\n", "has no rows"),
        ("", "has no rows"),
        (f"a,b\n1,{'2' * 200_000}\n", "is not a comma-separated table"),
        ('a,b\n"1,2\n', "is not a comma-separated table"),
    ],
)
def test_wrong_tables_are_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        listings.read_rows(tmp_path / "list", ["a", "b"])
