"""Text embeddings of Stable Diffusion's CLIP text encoder."""

import os
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from jaxtyping import Float
from threestudio.models.prompt_processors.base import PromptProcessor
from torch import Tensor


@threestudio.register("stable-diffusion-prompt-processor")
class StableDiffusionPromptProcessor(PromptProcessor):
    """Prompts through the `tokenizer` and `text_encoder` of a Stable Diffusion pipeline, a folder or a hub id."""

    @dataclass
    class Config(PromptProcessor.Config):
        """No settings of its own."""

    cfg: Config

    def text_encoder_stamp(self) -> list:
        """Name, size and time of every file of a local text encoder, so that a re-trained one is not mistaken."""
        stamps = []
        for part in ("tokenizer", "text_encoder"):
            folder = os.path.join(self.cfg.pretrained_model_name_or_path, part)
            entries = os.scandir(folder) if os.path.isdir(folder) else []
            stats = ((entry.name, entry.stat()) for entry in entries)
            stamps += sorted([part, name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)
        return stamps

    def configure_text_encoder(self) -> None:
        """Load the tokenizer and the text encoder.

        Raises:
            OSError: The model is neither a folder nor to be had from the hub.
        """
        from transformers import (
            AutoTokenizer,
            CLIPTextModel,
        )  # seconds to import; not needed when all is cached

        self.tokenizer = self._load(AutoTokenizer, "tokenizer")
        self.text_encoder = (
            self._load(CLIPTextModel, "text_encoder").to(self.device).eval().requires_grad_(False)
        )

    def _load(self, cls: Any, subfolder: str) -> Any:
        model = self.cfg.pretrained_model_name_or_path
        try:
            return cls.from_pretrained(model, subfolder=subfolder, revision=self.cfg.revision or "main")
        except (OSError, ValueError) as error:  # a ValueError for a folder that lacks the files
            raise OSError(
                f"no {subfolder} for the model '{model}': it is neither a local folder of a Stable Diffusion pipeline "
                "nor to be had from the Hugging Face hub (no such id, or no network); set "
                "system.prompt_processor.pretrained_model_name_or_path"
            ) from error

    def destroy_text_encoder(self) -> None:
        """Free both."""
        del self.tokenizer, self.text_encoder

    def get_text_embeddings(
        self, prompt: str | list[str], negative_prompt: str | list[str]
    ) -> tuple[Float[Tensor, "B N Nf"], Float[Tensor, "U N Nf"]]:
        """The text encoder's last hidden states; prompts that are too long are cut, with a warning."""
        self.configure_text_encoder()
        prompts, negatives = ([x] if isinstance(x, str) else list(x) for x in (prompt, negative_prompt))
        embeddings = self._encode(prompts + negatives)
        self.destroy_text_encoder()
        return embeddings[: len(prompts)], embeddings[len(prompts) :]

    @torch.no_grad()
    def _encode(self, prompts: list[str]) -> Float[Tensor, "B N Nf"]:
        longest = self.tokenizer.model_max_length
        for prompt, ids in zip(prompts, self.tokenizer(prompts, verbose=False).input_ids, strict=True):
            if len(ids) > longest:
                lost = self.tokenizer.decode(ids[longest - 1 : -1])
                threestudio.warn(
                    f"the prompt [{prompt}] is too long for the text encoder, which ignores: {lost}"
                )
        padded = self.tokenizer(
            prompts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        return self.text_encoder(padded.input_ids.to(self.device))[0]
