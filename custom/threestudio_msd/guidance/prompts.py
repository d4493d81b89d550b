"""`msd-pipeline-prompt-processor`: prompts through a pipeline's own text encoders,
however many it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import threestudio
from threestudio.models.prompt_processors.base import PromptProcessor
from torch import Tensor

from ..priors import embed_prompts, named
from ..priors.family import Embeddings
from ..priors.folder import check_model


@threestudio.register("msd-pipeline-prompt-processor")
class PipelinePromptProcessor(PromptProcessor):
    """Text embeddings of every family of pretrained models, as
    `PretrainedModel.condition` takes them.

    The encoders are loaded at the start and freed; there is no cache.
    """

    cfg: Any

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check the model; see `priors.folder.check_model`."""
        settings = experiment["system"].get("prompt_processor") or {}
        default = cls.Config.pretrained_model_name_or_path
        model: Any = settings.get("pretrained_model_name_or_path", default)
        check_model("system.prompt_processor", model, settings.get("revision"), text=True)

    def prepare_text_embeddings(self) -> None:
        """Embed all prompts."""
        prompts = [self.prompt, self.negative_prompt, *self.prompts_vd, *self.negative_prompts_vd]
        distinct = list(dict.fromkeys(prompts))
        self._embeddings = dict(zip(distinct, self.embed(distinct), strict=True))

    def load_from_cache(self, prompt: str) -> Tensor:
        """Return the embedding of a prompt, `[N, C]`; no file is involved."""
        return self._embeddings[prompt]

    def embed(self, prompts: list[str]) -> Embeddings:
        """Embeddings of prompts, `[P, N, C]`, in float32."""
        revision = self.cfg.get("revision")  # threestudio's own processors have no such setting
        with named("system.prompt_processor.pretrained_model_name_or_path"):
            return embed_prompts(prompts, self.cfg.pretrained_model_name_or_path, revision, self.device)
