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
from ..priors.embeddings import Packed
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
        """Embed all prompts; a text that is both counts as a prompt."""
        prompts = list(dict.fromkeys([self.prompt, *self.prompts_vd]))
        negatives = {self.negative_prompt, *self.negative_prompts_vd}.difference(prompts)
        texts = [*prompts, *sorted(negatives)]
        self._embeddings = dict(zip(texts, self.embed(prompts, sorted(negatives)), strict=True))

    def load_from_cache(self, prompt: str) -> Tensor:
        """Return the embedding of a prompt, `[N, C]`; no file is involved."""
        return self._embeddings[prompt]

    def embed(self, prompts: list[str], negatives: list[str] | None = None) -> Packed:
        """Embeddings of prompts, then of negative ones, `[P, N, C]`, in float32."""
        revision = self.cfg.get("revision")  # threestudio's own processors have no such setting
        with named("system.prompt_processor.pretrained_model_name_or_path"):
            model = self.cfg.pretrained_model_name_or_path
            return embed_prompts(prompts, model, revision, self.device, negatives)
