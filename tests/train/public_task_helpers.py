"""Miniature copies of public tasks, in their official layouts, with sounds of a tenth of a second."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from aasp_features.train.evaluate.task import Task

ESC50_HEADER = "filename,fold,target,category,esc10,src_file,take"
ESC50_CLASSES = {"dog": 0, "rooster": 1, "keyboard_typing": 32}
US8K_HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
CREMA_D_SPEAKERS = {1002: "train", 1003: "train", 1009: "validation", 1001: "test"}
AUDIOSET_HEAD = "# Segments csv created Sun Mar  5 10:54:31 2017\n# num_ytids=3, num_segs=3\n"


def write_clip(path: Path, frequency: float = 1000.0) -> None:
    """A tenth of a second of a tone in noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).normal(size=1600)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * np.arange(1600) / 16000) + 0.01 * noise, 16000)


def write_text(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def said(task: Task, folder: Path) -> dict[str, tuple[object, str, str]]:
    """Each clip's path in the folder -> its class (or classes), its group, its part."""
    found = {}
    for file, label, group, part in zip(task.files, task.labels, task.groups, task.parts, strict=True):
        multi_label = isinstance(label, np.ndarray)
        named = {task.classes[index] for index in np.flatnonzero(label)} if multi_label else task.classes[label]
        found[file.relative_to(folder).as_posix()] = (named, str(group), str(part))
    return found


def mini_esc50(folder: Path, recordings: int = 1) -> list[str]:
    """Two clips of every recording, in five folds, of three classes, two of them ESC-10's; the rows of the list."""
    rows = []
    for fold in range(1, 6):
        for name, target in ESC50_CLASSES.items():
            for recording in range(recordings):
                source = 1000 * fold + 10 * target + recording
                for take in "AB":
                    clip = f"{fold}-{source}-{take}-{target}.wav"
                    rows.append(f"{clip},{fold},{target},{name},{target < 32},{source},{take}")
                    write_clip(folder / "audio" / clip, 500 * (1 + min(target, 5)))
    write_text(folder / "meta" / "esc50.csv", [ESC50_HEADER, *rows])
    return rows


def mini_us8k(folder: Path) -> list[str]:
    rows = []
    for fold in range(1, 11):
        for label, name in ((3, "dog_bark"), (8, "siren")):
            clip = f"{fold}{label}-{label}-0-1.wav"
            rows.append(f"{clip},{fold}{label},0.0,0.1,1,{fold},{label},{name}")
            write_clip(folder / "audio" / f"fold{fold}" / clip)
    write_text(folder / "metadata" / "UrbanSound8K.csv", [US8K_HEADER, *rows])
    return rows


def mini_crema_d(folder: Path) -> None:
    """Four speakers, two emotions, two sentences."""
    for speaker in CREMA_D_SPEAKERS:
        for emotion, frequency in (("ANG", 3000), ("SAD", 300)):
            for sentence in ("DFA", "IEO"):
                write_clip(folder / "AudioWAV" / f"{speaker}_{sentence}_{emotion}_XX.wav", frequency)


def mini_nsynth(folder: Path) -> None:
    for part, instruments in {"train": 3, "valid": 1, "test": 1}.items():
        notes = {}
        for number in range(instruments):
            for family in ("bass", "vocal"):
                instrument = f"{family}_{part}_{number:03d}"
                notes[f"{instrument}-060-100"] = {"instrument_family_str": family, "instrument_str": instrument}
        for note in notes:
            write_clip(folder / f"nsynth-{part}" / "audio" / f"{note}.wav")
        write_text(folder / f"nsynth-{part}" / "examples.json", [json.dumps(notes)])


def mini_audioset(folder: Path) -> None:
    """Two balanced, two unbalanced, two evaluation segments, of which one's video is gone; four ways to name a file."""
    lists = {
        "balanced_train_segments": {"--aaaaaaaaa": "/m/09x0r,/t/dd00088", "Yaaaaaaaaaa": "/m/09x0r"},
        "unbalanced_train_segments": {"unbalanced1": "/t/dd00088", "unbalanced2": "/m/05zppz"},
        "eval_segments": {"evaluation1": "/m/05zppz,/m/09x0r", "evaluation2": "/m/09x0r"},
    }
    for name, segments in lists.items():
        lines = [f'{video}, 30.000, 40.000, "{labels}"' for video, labels in segments.items()]
        head = f"{AUDIOSET_HEAD}# YTID, start_seconds, end_seconds, positive_labels"
        write_text(folder / f"{name}.csv", [head, *lines])
    labels = ['0,/m/09x0r,"Speech"', '1,/m/05zppz,"Male speech, man speaking"', '2,/t/dd00088,"Gurgling"']
    write_text(folder / "class_labels_indices.csv", ["index,mid,display_name", *labels])
    write_clip(folder / "balanced_train_segments" / "Y--aaaaaaaaa.wav")
    write_clip(folder / "balanced_train_segments" / "Yaaaaaaaaaa_30.000.flac")
    write_clip(folder / "unbalanced_train_segments_part07" / "unbalanced1_30000_40000.wav")
    write_clip(folder / "audio" / "unbalanced_train_segments" / "deep" / "unbalanced2.wav")
    write_clip(folder / "eval_segments" / "evaluation1.wav")


def mini_fsd50k(folder: Path) -> None:
    dev = ["fname,labels,mids,split", '1,"Bark,Dog","/m/1,/m/2",train', "2,Cat,/m/3,train", "3,Dog,/m/2,val"]
    write_text(folder / "FSD50K.ground_truth" / "dev.csv", dev)
    write_text(folder / "FSD50K.ground_truth" / "eval.csv", ["fname,labels,mids", '4,"Cat,Dog","/m/3,/m/2"'])
    write_text(folder / "FSD50K.ground_truth" / "vocabulary.csv", ["0,Bark,/m/1", "1,Cat,/m/3", "2,Dog,/m/2"])
    for name in "123":
        write_clip(folder / "FSD50K.dev_audio" / f"{name}.wav")
    write_clip(folder / "FSD50K.eval_audio" / "4.wav")


def mini_voxforge(folder: Path, uploaders: int = 4) -> None:
    for language in ("de", "fr"):
        for number in range(uploaders):
            for archive in (f"{language}{number}-20080318-kdl", f"{language}{number}-20090401-abc"):
                write_clip(folder / language / archive / "wav" / "b0001.wav")
    write_clip(folder / "it" / "Trunk" / "anonymous-20110402-ujy" / "flac" / "it-1.flac")
    write_text(folder / "de" / "de0-20080318-kdl" / "etc" / "README", ["none"])


def mini_gtzan(folder: Path) -> None:
    for name, number in {"train_filtered": 1, "valid_filtered": 2, "test_filtered": 3}.items():
        clips = [f"{genre}/{genre}.0000{number}.wav" for genre in ("blues", "rock")]
        write_text(folder / f"{name}.txt", clips)
        for clip in clips:
            write_clip(folder / "genres" / clip)
    write_clip(folder / "genres" / "rock" / "rock.00099.wav")  # in no list: faulty


def mini_surge(folder: Path) -> None:
    tones = {"tone-a-velocity64": "train", "tone-b-velocity64": "valid", "tone-c-velocity64": "test"}
    write_text(folder / "dataset_surge_tone_splits.csv", ["tone,split", *map(",".join, tones.items())])
    for tone in tones:
        for pitch in (21, 99, 108):
            write_clip(folder / tone / f"{pitch}.wav")


def mini_spcv2(folder: Path) -> None:
    for speaker in ("0a", "0b", "0c"):
        for word in ("backward", "zero"):
            write_clip(folder / word / f"{speaker}_nohash_0.wav")
    write_clip(folder / "_background_noise_" / "pink_noise.wav")
    write_text(folder / "validation_list.txt", ["backward/0b_nohash_0.wav", "zero/0b_nohash_0.wav"])
    write_text(folder / "testing_list.txt", ["backward/0c_nohash_0.wav", "zero/0c_nohash_0.wav"])


def mini_vc1(folder: Path) -> None:
    lines = []
    for speaker in ("id10001", "id10002"):
        for part, video in enumerate(("1zcIwhmdeo4", "7gWzIy6yIIk", "Y8hIVOBuels"), start=1):
            lines.append(f"{part} {speaker}/{video}/00001.wav")
            write_clip(folder / "wav" / speaker / video / "00001.wav")
    write_text(folder / "iden_split.txt", lines)


MINIATURES = {
    "as2m": mini_audioset,
    "as20k": mini_audioset,
    "fsd50k": mini_fsd50k,
    "esc50": mini_esc50,
    "esc10": mini_esc50,
    "us8k": mini_us8k,
    "spcv2": mini_spcv2,
    "vc1": mini_vc1,
    "voxforge": mini_voxforge,
    "cremad": mini_crema_d,
    "gtzan": mini_gtzan,
    "nsynth": mini_nsynth,
    "surge": mini_surge,
}
