"""Text embeddings of Stable Diffusion's CLIP text encoder."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
from jaxtyping import Float
from threestudio.models.prompt_processors.base import PromptProcessor
from threestudio.utils.config import ConfigError
from threestudio.utils.hub import pretrained_folder
from torch import Tensor


@threestudio.register("stable-diffusion-prompt-processor")
class StableDiffusionPromptProcessor(PromptProcessor):
    """Prompts through `tokenizer` and `text_encoder` of a Stable Diffusion pipeline, a
    folder or hub id.
    """

    @dataclass
    class Config(PromptProcessor.Config):
        """No settings of its own."""

    cfg: Config

    @classmethod
    def check_experiment(cls, experiment: Mapping[str, Any]) -> None:
        """Check the model's name, and that a folder has a tokenizer and a text encoder.

        Raises:
            ConfigError: It cannot be a model.
        """
        settings = experiment["system"].get("prompt_processor") or {}
        model = settings.get("pretrained_model_name_or_path", cls.Config.pretrained_model_name_or_path)
        key = "system.prompt_processor.pretrained_model_name_or_path"
        if not os.path.isdir(model):
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or os.path.exists(model):
                raise ConfigError(f"{key}: expected a folder or owner/name on the hub, got {model!r}")
            return
        if settings.get("revision") is not None:
            raise ConfigError(f"system.prompt_processor.revision: {model} is a folder, which has none")
        for part in ("tokenizer", "text_encoder"):
            if not os.path.isdir(os.path.join(model, part)):
                raise ConfigError(f"{key}: {model} has no {part}/")
        names = os.listdir(os.path.join(model, "text_encoder"))
        if not any(name.endswith(".safetensors") for name in names):
            raise ConfigError(f"{key}: {model}/text_encoder/ holds no weights in safetensors")

    def text_encoder_stamp(self) -> list:
        """Name, size and time of every file of a local text encoder, which may be
        trained again.
        """
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
            OSError: The model is neither a folder nor to be had from the hub, or its
                files are damaged.
        """
        # seconds to import; not needed when all is cached
        from transformers import AutoTokenizer, CLIPTextModel
        from transformers.utils import logging

        folder = self._attempt("files", self._folder)
        logging.disable_progress_bar()  # downloads are done: a bar of weights is read in no time
        self.tokenizer = self._attempt(
            "tokenizer", lambda: AutoTokenizer.from_pretrained(os.path.join(folder, "tokenizer"))
        )
        # no local name for it: the first import of transformers leaves a reference cycle with this frame
        self.text_encoder = self._attempt("text_encoder", lambda: self._load_encoder(CLIPTextModel, folder))
        self.text_encoder.to(self.device).eval().requires_grad_(False)

    def _folder(self) -> str:
        model = self.cfg.pretrained_model_name_or_path
        if os.path.isdir(model):
            return model
        wanted = ["tokenizer/*", "text_encoder/*.json", "text_encoder/model*.safetensors"]
        folder = pretrained_folder(model, self.cfg.revision, wanted, ["*.fp16*"])
        if self._variant(folder):  # it has others only
            return pretrained_folder(model, self.cfg.revision, wanted, [])
        return folder

    def _variant(self, folder: str) -> str | None:
        """The variant of weights to load: fp16 where there are no plain ones."""
        names = os.listdir(os.path.join(folder, "text_encoder"))
        plain = any(name.endswith(".safetensors") and ".fp16" not in name for name in names)
        return None if plain else "fp16"

    def _load_encoder(self, cls: type, folder: str) -> torch.nn.Module:
        encoder, report = cls.from_pretrained(
            os.path.join(folder, "text_encoder"),
            variant=self._variant(folder),
            use_safetensors=True,
            output_loading_info=True,
        )
        if report["missing_keys"]:
            raise ValueError(f"its weights lack {min(report['missing_keys'])}")
        return encoder

    def _attempt(self, part: str, load: Callable[[], Any]) -> Any:
        model = self.cfg.pretrained_model_name_or_path
        try:
            return load()
        except Exception as error:  # the hub's and damaged files' errors share no base
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise OSError(
                f"no {part} for the model '{model}': it is neither a folder of a Stable Diffusion pipeline "
                f"in safetensors nor to be had from the Hugging Face hub ({reason}); set "
                "system.prompt_processor.pretrained_model_name_or_path"
            ) from error

    def destroy_text_encoder(self) -> None:
        del self.tokenizer, self.text_encoder

    def get_text_embeddings(
        self, prompt: str | list[str], negative_prompt: str | list[str]
    ) -> tuple[Float[Tensor, "B N Nf"], Float[Tensor, "U N Nf"]]:
        """The text encoder's last hidden states; of prompts that are too long, of their
        beginning.
        """
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
                self.ignored[prompt] = self.tokenizer.decode(ids[longest - 1 : -1])
        padded = self.tokenizer(
            prompts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        return self.text_encoder(padded.input_ids.to(self.device))[0]
