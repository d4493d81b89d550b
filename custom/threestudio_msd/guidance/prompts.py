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
    """threestudio's prompt processor for every family of pretrained models: embeds
    prompts with a pipeline's own text encoders.

    Its embeddings are what `PretrainedModel.condition` takes. The encoders are loaded
    at the start and freed; nothing is cached on disk.
    """

    cfg: Any

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check the text encoders' model without the hub and without loading weights;
        the launcher calls this.

        Args:
            experiment: The whole config.

        Raises:
            PriorError: The model's name is neither a folder nor a hub id, or the folder
                lacks a file.
        """
        settings = experiment["system"].get("prompt_processor") or {}
        default = cls.Config.pretrained_model_name_or_path
        model: Any = settings.get("pretrained_model_name_or_path", default)
        check_model("system.prompt_processor", model, settings.get("revision"), text=True)

    def prepare_text_embeddings(self) -> None:
        """Embed all prompts and negative prompts, and keep the embeddings in memory; a
        text that is both counts as a prompt.

        Raises:
            PriorError: The text encoders cannot be found, reached or read.
        """
        prompts = list(dict.fromkeys([self.prompt, *self.prompts_vd]))
        negatives = {self.negative_prompt, *self.negative_prompts_vd}.difference(prompts)
        texts = [*prompts, *sorted(negatives)]
        self._embeddings = dict(zip(texts, self.embed(prompts, sorted(negatives)), strict=True))

    def load_from_cache(self, prompt: str) -> Tensor:
        """Return the embedding of a prompt, `[N, C]`, from memory.

        Raises:
            KeyError: The prompt was not embedded by `prepare_text_embeddings`.
        """
        return self._embeddings[prompt]

    def embed(self, prompts: list[str], negatives: list[str] | None = None) -> Packed:
        """Embed prompts and negative prompts with the pipeline's text encoders.

        Args:
            prompts: Prompts.
            negatives: Negative prompts, which some families embed otherwise.

        Returns:
            One row per prompt, then one per negative prompt, `[P, N, C]`, in float32.

        Raises:
            PriorError: The text encoders cannot be found, reached or read.
        """
        revision = self.cfg.get("revision")  # threestudio's own processors have no such setting
        with named("system.prompt_processor.pretrained_model_name_or_path"):
            model = self.cfg.pretrained_model_name_or_path
            return embed_prompts(prompts, model, revision, self.device, negatives)
