"""`msd-pipeline-prompt-processor`: prompts through a pipeline's own text encoders, however many it has."""

from __future__ import annotations

from dataclasses import dataclass

import threestudio
import torch
from threestudio.models.prompt_processors.base import PromptProcessor
from torch import Tensor

from ..priors import embed_prompts, named


@threestudio.register("msd-pipeline-prompt-processor")
class PipelinePromptProcessor(PromptProcessor):
    """Text embeddings of every family of pretrained models, as `PretrainedModel.condition` takes them.

    The encoders are loaded at the start and freed; there is no cache.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        """No settings of its own."""

    cfg: Config

    def prepare_text_embeddings(self) -> None:
        """Nothing is computed ahead of time or kept."""

    def load_text_embeddings(self) -> None:
        """Embed all prompts."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        distinct = list(dict.fromkeys(prompts))
        embeddings = dict(zip(distinct, self.embed(distinct), strict=True))
        self.text_embeddings = embeddings[self.prompt][None]
        self.uncond_text_embeddings = embeddings[self.negative_prompt][None]
        self.text_embeddings_vd = torch.stack([embeddings[prompt] for prompt in self.prompts_vd])
        self.uncond_text_embeddings_vd = torch.stack(
            [embeddings[prompt] for prompt in self.negative_prompts_vd]
        )

    def embed(self, prompts: list[str]) -> Tensor:
        """Embeddings of prompts, `[P, N, C]`, in float32."""
        revision = self.cfg.get("revision")  # threestudio's own processors have no such setting
        with named("system.prompt_processor.pretrained_model_name_or_path"):
            return embed_prompts(prompts, self.cfg.pretrained_model_name_or_path, revision, self.device)
