"""A real Hub on loopback: what is fetched, what is pushed, and what a broken or hostile server may do."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from local_hub import TOKEN, LocalHub, Repository
from warm_process import run_python

from aasp_features import AaSPEncoder

Load = Callable[..., subprocess.CompletedProcess]

LOAD = """
import sys, json
from aasp_features import AaSPEncoder, CheckpointError
options = json.loads(sys.argv[1])
try:
    encoder = AaSPEncoder.from_pretrained(**options)
except CheckpointError as error:
    sys.exit(f"CheckpointError: {error}")
print(encoder.config.name, float(encoder.network.cls.double().sum()))
"""


@pytest.fixture
def hub(checkpoint: Path) -> Iterator[LocalHub]:
    """A Hub with one public repository, org/tiny."""
    with LocalHub() as server:
        server.repositories["org/tiny"] = Repository()
        server.repositories["org/tiny"].commit({path.name: path.read_bytes() for path in checkpoint.iterdir()})
        yield server


@pytest.fixture
def environment(hub: LocalHub, tmp_path: Path) -> dict[str, str]:
    """huggingface_hub reads these once, at its import, so the tests load in processes of their own."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    patient = {"HF_HUB_ETAG_TIMEOUT": "600", "HF_HUB_DOWNLOAD_TIMEOUT": "600"}  # a busy machine may need more than 10 s
    return {**os.environ, **quiet, **patient, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
def load(environment: dict[str, str]) -> Load:
    def run(name: str, extra: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess:
        return run_python(LOAD, json.dumps({"name": name, **options}), env={**environment, **(extra or {})})

    return run


def assert_fails(done: subprocess.CompletedProcess, sentence: str) -> None:
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("CheckpointError: ")
    assert sentence in done.stderr


def test_download_then_cache(hub: LocalHub, load: Load, small_encoder: AaSPEncoder) -> None:
    expected = f"{small_encoder.config.name} {float(small_encoder.network.cls.double().sum())}\n"
    assert load("org/tiny").stdout == expected
    asked = [request for request in hub.requests if request.startswith("GET") and "/resolve/" in request]
    assert {request.rsplit("/", 1)[1] for request in asked} == {"config.json", "model.safetensors", "README.md"}
    hub.requests.clear()
    assert load("org/tiny", {"HF_HUB_OFFLINE": "1"}).stdout == expected
    assert load("org/tiny", local_files_only=True).stdout == expected
    assert hub.requests == []
    hub.stop()
    assert load("org/tiny").stdout == expected


def test_revisions(hub: LocalHub, load: Load, small_encoder: AaSPEncoder) -> None:
    repository = hub.repositories["org/tiny"]
    first = repository.branches["main"]
    config = small_encoder.config.replace(name="aasp-test-random-2").to_json().encode()
    repository.commit({"config.json": config})
    assert load("org/tiny").stdout.startswith("aasp-test-random-2")
    assert load("org/tiny", revision=first).stdout.startswith("aasp-test-random-1")
    assert load(f"org/tiny@{first}").stdout.startswith("aasp-test-random-1")
    hub.stop()
    assert load(f"org/tiny@{first}").stdout.startswith("aasp-test-random-1")
    assert_fails(load(f"org/tiny@{first}", revision="main"), "drop one of them")


def test_what_is_not_there(hub: LocalHub, load: Load, environment: dict[str, str]) -> None:
    assert_fails(load("org/gone"), "org/gone: the Hub has no such repository, or it is private")
    assert_fails(load("org/tiny@v9"), "org/tiny@v9: the Hub has no such revision")
    assert_fails(load("org/other", {"HF_HUB_OFFLINE": "1"}), "org/other: not in the local cache")
    hub.stop()
    assert_fails(load("org/other"), "org/other: not in the local cache, and the Hub cannot be reached")


def test_private_repositories_want_a_token(hub: LocalHub, load: Load) -> None:
    hub.repositories["org/tiny"].private = True
    assert_fails(load("org/tiny"), "or it is private; check it, or pass token=")
    assert load("org/tiny", token=TOKEN).returncode == 0
    assert load("org/tiny", {"HF_TOKEN": TOKEN}).returncode == 0


def test_pickles_are_never_read(hub: LocalHub, load: Load, small_encoder: AaSPEncoder) -> None:
    hub.repositories["org/pickled"] = Repository()
    files = {"config.json": small_encoder.config.to_json().encode(), "pytorch_model.bin": b"pickled"}
    hub.repositories["org/pickled"].commit(files)
    assert_fails(load("org/pickled"), "weights are read from safetensors only")
    assert not any("pytorch_model" in request for request in hub.requests)


def test_damaged_weights(hub: LocalHub, load: Load) -> None:
    repository = hub.repositories["org/tiny"]
    weights = repository.commits[repository.branches["main"]]["model.safetensors"]
    repository.commit({"model.safetensors": weights[:-1000]})
    assert_fails(load("org/tiny"), "org/tiny: model.safetensors is damaged")


def test_push_and_load_again(hub: LocalHub, load: Load, environment: dict[str, str], checkpoint: Path) -> None:
    push = (
        "import sys; from aasp_features import AaSPEncoder\n"
        "encoder = AaSPEncoder.from_pretrained(sys.argv[1])\n"
        "print(encoder.push_to_hub('me/mine', half=True, private=True, token=sys.argv[2]))"
    )
    done = run_python(push, checkpoint, TOKEN, env=environment)
    assert done.stdout.strip() == f"{hub.endpoint}/me/mine", done.stderr
    files = hub.repositories["me/mine"].commits[hub.repositories["me/mine"].branches["main"]]
    assert {"config.json", "model.safetensors", "README.md"} <= set(files)
    assert hub.repositories["me/mine"].private
    assert load("me/mine", token=TOKEN).stdout.startswith("aasp-test-random-1")
    done = run_python(push, checkpoint, "hf_wrong", env=environment)
    assert "me/mine: the Hub did not take the checkpoint" in done.stderr


def test_a_classifier_goes_there_and_back(hub: LocalHub, environment: dict[str, str], checkpoint: Path) -> None:
    code = (
        "import sys; from torch import nn; from aasp_features import AaSPClassifier, AaSPEncoder\n"
        "encoder = AaSPEncoder.from_pretrained(sys.argv[1])\n"
        "classifier = AaSPClassifier(encoder, ['rain', 'bell'], nn.Linear(encoder.embedding_dim, 2))\n"
        "classifier.push_to_hub('me/named', token=sys.argv[2])\n"
        "again = AaSPClassifier.from_pretrained('me/named@main')\n"
        "print(again.labels, bool((again.head.weight == classifier.head.weight).all()))\n"
        "encoder.push_to_hub('me/named', token=sys.argv[2], half=True)\n"
        "AaSPClassifier.from_pretrained('me/named')"
    )
    done = run_python(code, checkpoint, TOKEN, env=environment)
    assert done.stdout.strip() == "('rain', 'bell') True", done.stderr
    assert "CheckpointError: me/named: classifier.json is of another encoder" in done.stderr


@pytest.mark.parametrize(
    ("fault", "file", "sentence"),
    [
        ("redirect", "config.json", "org/tiny: "),
        ("longer", "model.safetensors", "the download failed (Consistency check failed"),
        ("shorter", "model.safetensors", "the download failed (Consistency check failed"),
        ("endless", "model.safetensors", "org/tiny: the server sends more than"),
        ("gone", "model.safetensors", "org/tiny: "),
        ("torn", "model.safetensors", "org/tiny: "),
        ("html", "api", "org/tiny: "),
        ("redirect", "api", "org/tiny: "),
        ("gone", "api", "org/tiny: the Hub has no such repository"),
        ("403", "api", "org/tiny: the Hub refuses access (403); check that the token may read"),
        ("429", "api", "org/tiny: the Hub had too many requests from here (429); wait some minutes"),
        ("500", "api", "org/tiny: the Hub failed (500); try again later"),
        ("503", "config.json", "org/tiny: the Hub failed (503); try again later"),
        ("403", "model.safetensors", "org/tiny: the Hub refuses access (403)"),
    ],
)
def test_servers_that_misbehave(
    hub: LocalHub, load: Load, fault: str, file: str, sentence: str, tmp_path: Path
) -> None:
    """One sentence, no traceback, and no more on disk than the server had announced, and a little."""
    if fault == "endless" and tuple(map(int, huggingface_hub.__version__.split(".")[:2])) < (1, 1):
        pytest.skip("huggingface_hub before 1.1 has no place where a body could be bounded: it fills the disk")
    hub.faults[file] = fault
    done = load("org/tiny")
    assert_fails(done, sentence)
    assert "Traceback" not in done.stderr
    assert len(hub.requests) < 60  # redirects, and a few more tries
    assert sum(path.stat().st_size for path in (tmp_path / "hf").rglob("*") if path.is_file()) < 2**26
    hub.faults.clear()
    assert load("org/tiny").returncode == 0  # nothing wrong stays in the cache


def test_a_page_in_place_of_a_config(hub: LocalHub, load: Load) -> None:
    """The client keeps it under the commit's name, so the sentence says where it lies."""
    hub.faults["config.json"] = "html"
    done = load("org/tiny")
    assert_fails(done, "org/tiny: config: not valid JSON (Expecting value: line 1 column 1 (char 0)); the file is /")
    hub.faults.clear()
    Path(done.stderr.strip().rpartition("the file is ")[2].rstrip(".")).unlink()
    assert load("org/tiny").returncode == 0


def test_a_file_that_was_changed_in_the_cache(hub: LocalHub, load: Load, tmp_path: Path) -> None:
    """The Hub's name of a large file is its sha256; a flipped bit of a weight shows in nothing else."""
    assert load("org/tiny").returncode == 0
    (weights,) = (tmp_path / "hf").rglob("model.safetensors")
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.resolve().write_bytes(bytes(data))
    assert_fails(load("org/tiny"), "its sha256 is not that which the Hub gave; delete")
