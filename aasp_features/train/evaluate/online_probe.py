"""The online probe: k-NN and logistic regression on a labelled folder, during a run.

Its figures are those of ``aasp-train knn`` and ``linear --quick``, both with ``--selection``, for the checkpoints that
``export`` would write: ``average`` is the EMA teacher, ``last`` the student.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from aasp_features.config import AaSPConfig
from aasp_features.encoder import AaSPEncoder
from aasp_features.model.network import AaSPNetwork
from aasp_features.train.evaluate.classifier import logistic_regression, nearest_neighbours
from aasp_features.train.evaluate.classify import read_task
from aasp_features.train.evaluate.methods import encoder_method
from aasp_features.train.evaluate.probe import probe
from aasp_features.train.evaluate.readable import readable
from aasp_features.train.evaluate.task import Task
from aasp_features.train.evaluate.vector_cache import task_vectors, vector_cache

CLASSIFIERS = {"knn": nearest_neighbours, "linear": logistic_regression}


class OnlineProbe:
    """Evaluation of networks in training, which changes no random state.

    Args:
        task: Labelled clips, all readable. The last fold and the test part are held back.
        device: Device of the embedding.
    """

    def __init__(self, task: Task, device: torch.device) -> None:
        self.task, self.device = task, device

    def __call__(self, networks: Mapping[str, AaSPNetwork], config: AaSPConfig) -> dict[str, float]:
        """Return ``probe_knn_NAME`` and ``probe_linear_NAME`` of each network by name: the task's metric, in %.

        Args:
            networks: Networks by name.
            config: Config of the exported checkpoint, which says how vectors are pooled.

        Raises:
            TrainError, AudioError: A clip cannot be embedded, or the clips do not suffice.
        """
        figures = {}
        for name, network in networks.items():
            method = encoder_method(exported(network, config).to(self.device), name, None, None)
            vectors = task_vectors(method, self.task.files, None)
            for kind, classifier in CLASSIFIERS.items():
                figures[f"probe_{kind}_{name}"] = probe(vectors, self.task, classifier, selection=True).value
        return figures


def read_probe(folder: str, device: torch.device) -> OnlineProbe:
    """Read the task of a labelled folder, a table or ``NAME:FOLDER``, without its unreadable clips.

    Raises:
        TrainError: There is not exactly one task, or nothing is left when the final test data are held back.
    """
    task = readable(read_task(folder), vector_cache(None))
    task.splits(selection=True)
    return OnlineProbe(task, device)


def exported(network: AaSPNetwork, config: AaSPConfig) -> AaSPEncoder:
    """Return the encoder of a checkpoint that holds a network's weights in float16, on the CPU."""
    with torch.random.fork_rng(devices=[]):  # a new network draws its weights
        encoder = AaSPEncoder(config)
    encoder.network.load_state_dict({name: value.half().float() for name, value in network.state_dict().items()})
    return encoder
