"""The public tasks: a table of facts, and how a folder becomes a ``Task``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from aasp_features.train.errors import TrainError
from aasp_features.train.evaluate.metrics import ACCURACY, MEAN_AVERAGE_PRECISION, Metric
from aasp_features.train.evaluate.task import TEST, TRAIN, VALIDATION, WHOLE, Task, build_task
from aasp_features.train.evaluate.tasks import listings
from aasp_features.train.evaluate.tasks.hub_copy import HubCopy
from aasp_features.train.evaluate.tasks.listings import Listing


@dataclass(frozen=True)
class PublicTask:
    """A public task.

    Attributes:
        name: Name on the command line.
        title: Title that its authors gave it.
        classes: Number of classes.
        seconds: Usual length of a clip.
        splits: Its splits, and their source.
        source: Its source.
        layout: Content of its folder.
        expected: Clips of the official distribution; see ``Task``.
        list_clips: Function from its folder to the listing; raises TrainError for other folders.
        class_names: Classes in order, separated by spaces (default: those of the listing, or those that occur, sorted).
        metric: Metric of the scores; mAP marks multi-label tasks.
        hub: Name of a copy on the Hugging Face Hub; archives there must be unpacked by the user.
        packed: Tables of that copy, which are unpacked to the official layout.
        note: See ``Task``.
    """

    name: str
    title: str
    classes: int
    seconds: float
    splits: str
    source: str
    layout: str
    expected: Mapping[str, int]
    list_clips: Callable[[Path], Listing]
    class_names: str = ""
    metric: Metric = ACCURACY
    hub: str = ""
    packed: HubCopy | None = None
    note: str = ""

    def read(self, folder: Path) -> Task:
        """Read the task from a folder; listed clips that do not exist are named in ``missing``.

        Raises:
            TrainError: There is no such folder, or it is not this task's; the message describes the folder and its
                source.
        """
        try:
            if not folder.is_dir():
                raise TrainError(f"{folder} is not a folder.")
            if self.packed is not None:
                self.packed.unpack(folder)
            rows, classes = self.list_clips(folder)
        except TrainError as error:
            raise TrainError(f"{self.name}: {error} {self.instructions}") from None
        task = build_task(
            self.name,
            rows,
            self.metric,
            classes=self.class_names.split() or classes,
            multi_label=self.metric is MEAN_AVERAGE_PRECISION,
            seconds=self.seconds,
        )
        return replace(task, expected=self.expected, note=self.note)

    @property
    def instructions(self) -> str:
        """Content of its folder, and where to get it, in two sentences."""
        copy = f"; a copy on the Hugging Face Hub is {self.hub}" if self.hub else ""
        return f"Its folder holds {self.layout}. It comes from {self.source}{copy}."


# https://research.google.com/audioset/download.html: lists and counts. Copies of the sounds lack deleted videos, and
# name files as ID.wav, YID.wav or ID_30.000_40.000.wav.
AUDIOSET_20K = PublicTask(
    name="as20k",
    title="AudioSet-20K",
    classes=527,
    seconds=10.0,
    splits="official: balanced trains, evaluation tests",
    source="https://research.google.com/audioset/download.html (lists; the sounds are cut from YouTube)",
    layout="balanced_train_segments.csv, eval_segments.csv, class_labels_indices.csv, and folders of these names "
    "with files called by their YouTube IDs",
    expected={TRAIN: 22_160, TEST: 20_371},
    list_clips=partial(listings.list_audioset, [listings.BALANCED, listings.EVALUATION]),
    metric=MEAN_AVERAGE_PRECISION,
    hub="agkphysics/AudioSet",
)
AUDIOSET_2M = replace(
    AUDIOSET_20K,
    name="as2m",
    title="AudioSet-2M",
    splits="official: balanced and unbalanced train, evaluation tests",
    layout="balanced_train_segments.csv, unbalanced_train_segments.csv, eval_segments.csv, class_labels_indices.csv, "
    "and folders of these names with files called by their YouTube IDs",
    expected={TRAIN: 2_063_949, TEST: 20_371},
    list_clips=partial(listings.list_audioset, [listings.BALANCED, listings.UNBALANCED, listings.EVALUATION]),
)
# https://zenodo.org/record/4060432 (FSD50K.doc/README.md): layout, columns and counts. Labels are propagated to the
# root of the ontology.
FSD50K = PublicTask(
    name="fsd50k",
    title="FSD50K",
    classes=200,
    seconds=7.6,
    splits="official train, validation, evaluation",
    source="https://zenodo.org/record/4060432",
    layout="FSD50K.ground_truth with dev.csv, eval.csv and vocabulary.csv, FSD50K.dev_audio and FSD50K.eval_audio",
    expected={TRAIN: 36_796, VALIDATION: 4_170, TEST: 10_231},
    list_clips=listings.list_fsd50k,
    metric=MEAN_AVERAGE_PRECISION,
    hub="Fhrozen/FSD50k",
)
# https://github.com/karolpiczak/ESC-50 (README): layout, folds and counts. Clips of one Freesound recording (src_file)
# are in one fold.
ESC50_COPY = HubCopy(
    tables="data/*.parquet",
    clip="audio/{filename}",
    columns=("filename", "fold", "target", "category", "esc10", "src_file", "take"),
    listing="meta/esc50.csv",
)
ESC50 = PublicTask(
    name="esc50",
    title="ESC-50",
    classes=50,
    seconds=5.0,
    splits="5 official folds",
    source="https://github.com/karolpiczak/ESC-50",
    layout="meta/esc50.csv (filename, fold, category, esc10, src_file) and audio/*.wav",
    expected=dict.fromkeys("12345", 400),
    list_clips=partial(listings.list_folds, ESC50_COPY, "category", "src_file", 5),
    class_names="airplane breathing brushing_teeth can_opening car_horn cat chainsaw chirping_birds church_bells "
    "clapping clock_alarm clock_tick coughing cow crackling_fire crickets crow crying_baby dog door_wood_creaks "
    "door_wood_knock drinking_sipping engine fireworks footsteps frog glass_breaking hand_saw helicopter hen "
    "insects keyboard_typing laughing mouse_click pig pouring_water rain rooster sea_waves sheep siren sneezing "
    "snoring thunderstorm toilet_flush train vacuum_cleaner washing_machine water_drops wind",
    hub="ashraq/esc50",
    packed=ESC50_COPY,
)
ESC10 = replace(
    ESC50,
    name="esc10",
    title="ESC-10",
    classes=10,
    expected=dict.fromkeys("12345", 80),
    list_clips=partial(listings.list_folds, ESC50_COPY, "category", "src_file", 5, only="esc10"),
    class_names="chainsaw clock_tick crackling_fire crying_baby dog helicopter rain rooster sea_waves sneezing",
)
# https://urbansounddataset.weebly.com/urbansound8k.html: layout, classes and folds. Excerpts of up to 4 s; clips of one
# Freesound recording (fsID) are in one fold.
URBAN_SOUND_8K_COPY = HubCopy(
    tables="data/*.parquet",
    clip="audio/fold{fold}/{slice_file_name}",
    columns=("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"),
    listing="metadata/UrbanSound8K.csv",
)
URBAN_SOUND_8K = PublicTask(
    name="us8k",
    title="UrbanSound8K",
    classes=10,
    seconds=4.0,
    splits="10 official folds",
    source="https://urbansounddataset.weebly.com/urbansound8k.html",
    layout="metadata/UrbanSound8K.csv (slice_file_name, fsID, fold, class) and audio/fold1 … audio/fold10",
    expected=dict(zip(map(str, range(1, 11)), (873, 888, 925, 990, 936, 823, 838, 806, 816, 837), strict=True)),
    list_clips=partial(listings.list_folds, URBAN_SOUND_8K_COPY, "class", "fsID", 10),
    class_names="air_conditioner car_horn children_playing dog_bark drilling engine_idling gun_shot jackhammer siren "
    "street_music",
    hub="danavery/urbansound8K",
    packed=URBAN_SOUND_8K_COPY,
)
# Warden 2018, arXiv 1804.03209, and nttcslab/eval-audio-repr (evar/utils/make_metadata.py): layout and counts. Words of
# about a second; clips in no list train.
SPEECH_COMMANDS_V2 = PublicTask(
    name="spcv2",
    title="Speech Commands V2",
    classes=35,
    seconds=1.0,
    splits="official validation and test lists, the rest trains; by speaker",
    source="http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    layout="validation_list.txt, testing_list.txt, and a folder of .wav for each of the 35 words",
    expected={TRAIN: 84_843, VALIDATION: 9_981, TEST: 11_005},
    list_clips=listings.list_speech_commands,
    class_names="backward bed bird cat dog down eight five follow forward four go happy house learn left marvin nine "
    "no off on one right seven sheila six stop three tree two up visual wow yes zero",
    hub="google/speech_commands",
)
# https://www.robots.ox.ac.uk/~vgg/data/voxceleb/ (meta/iden_split.txt): layout and split by utterance, as in
# nttcslab/eval-audio-repr.
VOXCELEB1 = PublicTask(
    name="vc1",
    title="VoxCeleb1 identification",
    classes=1251,
    seconds=8.2,
    splits="official train, validation, test (iden_split.txt)",
    source="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html (the list: meta/iden_split.txt there)",
    layout="iden_split.txt and wav/SPEAKER/VIDEO/*.wav, the archives dev and test merged",
    expected={TRAIN: 138_361, VALIDATION: 6_904, TEST: 8_251},
    list_clips=listings.list_voxceleb,
    hub="ProgramComputer/voxceleb",
)
# EVAR (nttcslab/eval-audio-repr) splits 176,428 clips by archive, 70/15/15, at random, by its list
# evar/metadata/voxforge.csv. The split here needs no list.
VOXFORGE = PublicTask(
    name="voxforge",
    title="VoxForge language identification",
    classes=6,
    seconds=5.8,
    splits="70/15/15 by uploader, made here by a hash of the name",
    source="http://www.voxforge.org (the archives: "
    "https://storage.googleapis.com/tfds-data/downloads/voxforge/voxforge_urls.txt)",
    layout="de, en, es, fr, it and ru, in each the unpacked archives: ARCHIVE/wav/*.wav or ARCHIVE/flac/*.flac",
    expected={WHOLE: 176_428},
    list_clips=listings.list_voxforge,
    class_names=" ".join(listings.LANGUAGES),
    note="The split is by a hash of the uploader; EVAR uses its own list, so its results are for another split.",
)
# https://github.com/CheyneyComputerScience/CREMA-D: layout. Split: evar/metadata/cremad.csv of nttcslab/eval-audio-repr
# (5,155, 732 and 1,551 of its 7,438 clips).
CREMA_D = PublicTask(
    name="cremad",
    title="CREMA-D",
    classes=6,
    seconds=2.5,
    splits="by speaker, 63/9/19, as EVAR",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/*.wav (1001_DFA_ANG_XX.wav) and, to know what is missing, SentenceFilenames.csv",
    expected={WHOLE: 7_442},
    list_clips=listings.list_crema_d,
    class_names="ANG DIS FEA HAP NEU SAD",
)
# Kereliuk et al. 2015, arXiv 1507.04761: the fault-filtered split, which separates artists and omits broken clips; 930
# of the 1,000 clips. Counts: README of nttcslab/eval-audio-repr.
GTZAN = PublicTask(
    name="gtzan",
    title="GTZAN",
    classes=10,
    seconds=30.0,
    splits="fault-filtered train, validation, test lists",
    source=f"http://opihi.cs.uvic.ca/sound/genres.tar.gz, its lists from {listings.GTZAN_LISTS_FROM}",
    layout="genres (or genres_original) with a folder of .wav for each genre, train_filtered.txt, valid_filtered.txt "
    "and test_filtered.txt",
    expected={TRAIN: 443, VALIDATION: 197, TEST: 290},
    list_clips=listings.list_gtzan,
    class_names="blues classical country disco hiphop jazz metal pop reggae rock",
    hub="marsyas/gtzan",
)
# https://magenta.tensorflow.org/datasets/nsynth: layout, families and counts. Training instruments are in no other
# part; validation and test share some.
NSYNTH = PublicTask(
    name="nsynth",
    title="NSynth instrument family",
    classes=11,
    seconds=4.0,
    splits="official train, validation, test",
    source="https://magenta.tensorflow.org/datasets/nsynth",
    layout="nsynth-train, nsynth-valid and nsynth-test, each with examples.json and audio/*.wav",
    expected={TRAIN: 289_205, VALIDATION: 12_678, TEST: 4_096},
    list_clips=listings.list_nsynth,
    class_names="bass brass flute guitar keyboard mallet organ reed string synth_lead vocal",
    hub="jg583/NSynth",
)
# nttcslab/eval-audio-repr (evar/utils/make_metadata.py, evar/predefined/dataset_surge_tone_splits.csv): layout, split
# and counts. 1,692, 195 and 197 tones, 88 files each, named by their pitches.
SURGE = PublicTask(
    name="surge",
    title="Pitch Audio Dataset (Surge synthesizer)",
    classes=88,
    seconds=4.0,
    splits="by tone, as EVAR",
    source=f"https://zenodo.org/record/4677097, its list from {listings.SURGE_LIST_FROM}",
    layout=f"a folder for each tone with a file for each pitch (TONE/PITCH.ogg), and {listings.SURGE_LIST}",
    expected={TRAIN: 148_896, VALIDATION: 17_160, TEST: 17_336},
    list_clips=listings.list_surge,
)
PUBLIC_TASKS: dict[str, PublicTask] = {
    task.name: task
    for task in (
        *(AUDIOSET_2M, AUDIOSET_20K, FSD50K, ESC50, ESC10, URBAN_SOUND_8K),
        *(SPEECH_COMMANDS_V2, VOXCELEB1, VOXFORGE, CREMA_D),
        *(GTZAN, NSYNTH, SURGE),
    )
}
