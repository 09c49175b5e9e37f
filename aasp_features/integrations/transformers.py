"""transformers' Auto classes for AaSP. Importing this module registers them; no remote code is run.

``AutoModel.from_pretrained`` reads this package's checkpoints. ``AaSPModel.save_pretrained`` writes transformers' own
layout, which only transformers reads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    BatchFeature,
    FeatureExtractionMixin,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from aasp_features.config import AaSPConfig, with_current_keys
from aasp_features.inputs import scale_to_float
from aasp_features.model.log_mel import LogMel
from aasp_features.model.network import AaSPNetwork, has_empty_columns
from aasp_features.model.pooling import pool_clip


class AaSPHubConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """The fields of an ``AaSPConfig`` as a transformers config; they are checked when a model is built."""

    model_type = "aasp"

    def __init__(self, **values: Any) -> None:
        values = with_current_keys(values)
        fields = {field.name: field.default for field in dataclasses.fields(AaSPConfig)}
        own = {name: values.pop(name, default) for name, default in fields.items()}
        values.pop("package_version", None)
        super().__init__(**values)
        for name, value in own.items():
            setattr(self, name, value)

    def to_aasp(self) -> AaSPConfig:
        """Return the config of this package.

        Raises:
            ValueError: a value is not accepted.
        """
        return AaSPConfig(**{field.name: getattr(self, field.name) for field in dataclasses.fields(AaSPConfig)})


class AaSPModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A network from waveforms of at most one window to tokens and clip vectors, differentiable."""

    config_class = AaSPHubConfig
    base_model_prefix = "network"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True

    def __init__(self, config: AaSPHubConfig) -> None:
        super().__init__(config)
        aasp = config.to_aasp()
        with torch.device("cpu"):  # not "meta", where the tables of the log-mel cannot be computed
            self.log_mel = LogMel(aasp)
            self.network = AaSPNetwork(aasp)
        self._add_head(aasp)
        self.post_init()  # type: ignore[no-untyped-call]

    def _add_head(self, aasp: AaSPConfig) -> None:
        """Add the layers on top of the encoder; none here."""

    @classmethod
    def from_pretrained(cls, *arguments: Any, **options: Any) -> Any:
        """Load a checkpoint as transformers does, but in float32 by default: weights are stored in float16."""
        if not {"dtype", "torch_dtype"} & set(options):
            options["dtype"] = torch.float32
        return super().from_pretrained(*arguments, **options)

    def _init_weights(self, module: Any) -> None:
        """Fill the tables that no checkpoint stores and transformers empties; weights initialise themselves."""
        if isinstance(module, (LogMel, AaSPNetwork)):
            with torch.device("cpu"), torch.no_grad():
                fresh = dict(type(module)(self.config.to_aasp()).named_buffers())
                for name, buffer in module.named_buffers():
                    buffer.copy_(fresh[name])

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ) -> Any:
        """Encode waveforms.

        Args:
            input_values: (batch, samples) float at 16 kHz in +-1, at most one window (10.2 s).
            attention_mask: (batch, samples), 1 for samples and 0 for padding, which changes nothing.
            output_hidden_states: return every block's tokens, too.
            return_dict: return a tuple if False.

        Returns:
            ``last_hidden_state`` (batch, columns * rows, dim), time-major; ``pooler_output`` (batch, d), the clip
            vector under the config's pooling; ``hidden_states``.

        Raises:
            ValueError: the input is longer than a window.
        """
        lengths = None if attention_mask is None else attention_mask.sum(dim=1)
        log_mel = self.log_mel(input_values, lengths)
        frame_lengths = None if lengths is None else self.log_mel.count_frames(lengths)
        network = self.network
        masked = has_empty_columns(log_mel, frame_lengths)
        last_layers = network.config.last_layers
        with_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        kept = network.config.depth if with_states else last_layers
        outputs, column_frames = network.encode(log_mel, frame_lengths, kept, masked)
        states = tuple(network.norm(tokens)[:, 1:] for tokens in outputs) if with_states else None
        features = network.features(outputs[-last_layers:], column_frames)
        output = BaseModelOutputWithPooling(
            last_hidden_state=features.tokens.flatten(1, 2),
            pooler_output=pool_clip(features, self.network.config.pooling),
            hidden_states=states,
        )
        return output.to_tuple() if return_dict is False else output


class AaSPForAudioClassification(AaSPModel):  # type: ignore[no-untyped-call]
    """The network with a linear layer on its clip vectors, for one label per clip or several.

    From a checkpoint of an encoder, the layer starts at zero: all classes are equally likely.
    """

    def _add_head(self, aasp: AaSPConfig) -> None:
        self.loss_type = "ForSequenceClassification"  # earlier versions name none for audio
        self.classifier = nn.Linear(aasp.embedding_dim, int(self.config.num_labels or 2))

    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        if module is self.classifier:
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> Any:
        """Classify waveforms; other arguments and errors are those of ``AaSPModel.forward``.

        Args:
            labels: (batch,) integer labels, or (batch, labels) float for several labels per clip.

        Returns:
            ``loss`` if there are labels; ``logits`` (batch, labels); ``hidden_states``.
        """
        found = super().forward(input_values, attention_mask, output_hidden_states, True)
        logits = self.classifier(found.pooler_output)
        loss = None if labels is None else self.loss_function(labels, logits, self.config)
        output = SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=found.hidden_states)
        return output.to_tuple() if return_dict is False else output


class AaSPFeatureExtractor(FeatureExtractionMixin):
    """Padding of 16 kHz waveforms to a batch with a mask; the model itself computes the log-mel.

    Not a ``SequenceFeatureExtractor``: its module imports an installed torchaudio, and fails if that does not load.
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012 (transformers' way)

    def __init__(self, sampling_rate: int = 16000, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self.sampling_rate = sampling_rate

    def __call__(
        self, raw_speech: Any, sampling_rate: int | None = None, return_tensors: str | None = "pt"
    ) -> BatchFeature:
        """Pad one waveform, or a list of them, to (batch, samples); integers are scaled by their dtype's range.

        Raises:
            ValueError: the sampling rate differs, a waveform is not 1-D, or integers have no known range.
        """
        if sampling_rate not in (None, self.sampling_rate):
            raise ValueError(
                f"sampling_rate must be {self.sampling_rate}, got {sampling_rate}; resample, or use AaSPEncoder.embed."
            )
        sounds = raw_speech if isinstance(raw_speech, (list, tuple)) and np.ndim(raw_speech[0]) else [raw_speech]
        tensors = [torch.as_tensor(scale_to_float(np.asarray(sound), "a waveform")) for sound in sounds]
        if any(tensor.ndim != 1 for tensor in tensors):
            raise ValueError(f"a waveform is 1-D, got {next(tensor.ndim for tensor in tensors if tensor.ndim != 1)}-D.")
        mask = pad_sequence([torch.ones(len(tensor), dtype=torch.long) for tensor in tensors], batch_first=True)
        padded = pad_sequence(tensors, batch_first=True)
        return BatchFeature({"input_values": padded.numpy(), "attention_mask": mask.numpy()}, return_tensors)


AutoConfig.register("aasp", AaSPHubConfig, exist_ok=True)
AutoModel.register(AaSPHubConfig, AaSPModel, exist_ok=True)
AutoModelForAudioClassification.register(AaSPHubConfig, AaSPForAudioClassification, exist_ok=True)
AutoFeatureExtractor.register(AaSPHubConfig, AaSPFeatureExtractor, exist_ok=True)  # type: ignore[no-untyped-call]
