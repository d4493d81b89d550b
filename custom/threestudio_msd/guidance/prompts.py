"""`msd-pipeline-prompt-processor`: prompts through a pipeline's own text encoders,
however many it has.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import threestudio
from safetensors import SafetensorError
from safetensors.torch import load_file
from threestudio.models.prompt_processors.base import PromptProcessor
from torch import Tensor

from ..errors import of_file
from ..files import save_tensors
from ..priors import embed_prompts, named
from ..priors.embeddings import Packed
from ..priors.folder import check_model

CACHE = Path(".threestudio_cache/text_embeddings")
"""threestudio's own folder for them."""


@threestudio.register("msd-pipeline-prompt-processor")
class PipelinePromptProcessor(PromptProcessor):
    """threestudio's prompt processor for every family of pretrained models: embeds
    prompts with a pipeline's own text encoders.

    Its embeddings are what `PretrainedModel.condition` takes. The encoders are loaded
    at the start and freed. The embeddings are cached on disk, unless the host's
    `use_cache` is false, by model, revision, files of a folder, and prompts.
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
        self._embeddings = dict(zip(texts, self.embed_once(prompts, sorted(negatives)), strict=True))

    def embed_once(self, prompts: list[str], negatives: list[str]) -> Packed:
        """Return the embeddings that an earlier run left on disk, or else those of
        `embed`, and leave them there.
        """
        if not self.cfg.get("use_cache", True):
            return self.embed(prompts, negatives)
        path = self.cache_file(prompts, negatives)
        with suppress(OSError, SafetensorError, KeyError):
            return load_file(path)["embeddings"].to(self.device)
        embeddings = self.embed(prompts, negatives)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_tensors({"embeddings": embeddings.cpu().contiguous()}, path)
        except OSError as error:
            threestudio.warn(f"Text embeddings are not kept for later runs: {of_file(error)}")
        return embeddings

    def cache_file(self, prompts: list[str], negatives: list[str]) -> Path:
        """Name the file of some prompts' embeddings, by all that they depend on."""
        model, revision = self.cfg.pretrained_model_name_or_path, self.cfg.get("revision")
        parts = ("text_encoder", "tokenizer")
        files = [path for part in parts for path in sorted(Path(model).glob(f"{part}*/*"))]
        stamp = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        key = json.dumps([model, revision, stamp, prompts, negatives])
        return CACHE / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"

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
