"""Unconstrained guided sampling from a guidance module's prior, the reference for
distillation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from threestudio.models.prompt_processors.base import PromptProcessorOutput
from torch import Tensor

from ..distillation import SampleNoise, on_device, sample, seed_from
from .base import LatentGuidance
from .view import View


@torch.no_grad()
def sample_images(
    guidance: LatentGuidance,
    prompt_utils: PromptProcessorOutput,
    count: int,
    seed: int = 0,
    steps: int = 50,
    scale: float = 7.5,
    solver: str = "ddim",
) -> Float[Tensor, "B H W 3"]:
    """Sample images from the pretrained model under the prompt, as a reference for
    distillation.

    The prompt does not follow a camera.

    Args:
        guidance: Any guidance module of this package; only its pretrained model is
            used.
        prompt_utils: A threestudio prompt processor's output.
        count: Number of images; image i depends on (seed, i) alone.
        seed: Seed of the noise.
        steps: Solver steps, at evenly spaced diffusion times, as DDIM takes them.
        scale: Classifier-free guidance w; 1 means none.
        solver: `ddim`, `heun` or `dpmpp-2m`.

    Returns:
        Images in [0, 1], `[count, H, W, 3]`.

    Raises:
        KeyError: There is no such solver.
    """
    schedule = guidance.model.denoiser.schedule
    like = torch.zeros(count, *guidance.model.latent_shape, device=guidance.device)
    prior = guidance.prior(View.front(prompt_utils, like, view_dependent=False))
    times = torch.linspace(1, 0, steps + 1, dtype=torch.float64)[:-1]
    sigmas = on_device(torch.cat([schedule.sigma(times), torch.zeros(1)]), torch.device(guidance.device))
    noise = SampleNoise([seed_from(seed, "sample", i) for i in range(count)])
    z = sigmas[0] * noise(like)
    return guidance.model.decode(sample(prior.at(scale), z, sigmas, solver)).permute(0, 2, 3, 1)
