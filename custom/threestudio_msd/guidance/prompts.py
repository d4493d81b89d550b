"""`msd-pipeline-prompt-processor`: prompts through a pipeline's own text encoders, however many it has."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.prompt_processors.base import PromptProcessor
from torch import Tensor

from ..priors import PriorError


@threestudio.register("msd-pipeline-prompt-processor")
class PipelinePromptProcessor(PromptProcessor):
    """Text embeddings of any diffusers pipeline that has `encode_prompt`: Stable Diffusion XL and 3 above all.

    Their networks also want a pooled embedding. It travels as one more token behind the others, zeros to its
    right, so that views, Perp-Neg and everything else that threestudio does with embeddings applies to it
    too; `PretrainedModel.condition` takes the two apart again. The encoders are loaded at the start and freed;
    there is no cache.
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

    @torch.no_grad()
    def embed(self, prompts: list[str]) -> Tensor:
        """Embeddings of prompts, `[P, N, C]`, the pooled one last where the pipeline has one; in float32."""
        pipeline = self._pipeline()
        encoded = pipeline.encode_prompt(
            prompts,
            **({"prompt_2": None, "prompt_3": None} if hasattr(pipeline, "text_encoder_3") else {}),
            device=self.device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
        tokens = encoded[0].float()
        if len(encoded) == 4:  # tokens, negative ones, pooled, negative pooled
            pooled = F.pad(encoded[2].float(), (0, tokens.shape[-1] - encoded[2].shape[-1]))
            tokens = torch.cat([tokens, pooled[:, None]], 1)
        if pipeline.config.get("force_zeros_for_empty_prompt"):  # as Stable Diffusion XL was trained
            tokens[[not prompt for prompt in prompts]] = 0
        return tokens

    def _pipeline(self) -> Any:
        # diffusers takes a second to import
        from diffusers import DiffusionPipeline

        model = self.cfg.pretrained_model_name_or_path
        logging.getLogger("diffusers.pipelines.pipeline_utils").setLevel(logging.ERROR)
        try:
            pipeline = DiffusionPipeline.from_pretrained(
                model,
                revision=self.cfg.get("revision"),  # threestudio's own processors have no such setting
                use_safetensors=True,
                **dict.fromkeys(("unet", "transformer", "vae", "safety_checker")),
            )
        except (OSError, ValueError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PriorError(
                f"{model}: its text encoders cannot be loaded ({reason}). Check the id and the connection, download it with "
                f"`hf download {model}`, or set system.prompt_processor.pretrained_model_name_or_path to a local folder."
            ) from error
        return pipeline.to(self.device)
