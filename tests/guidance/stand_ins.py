"""What a guidance module is called with: prompts, cameras, renders."""

from __future__ import annotations

import torch


class PromptUtils:
    """Stands for threestudio's PromptProcessorOutput."""

    def __init__(self, use_perp_neg: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.use_perp_neg = use_perp_neg
        self.embeddings = torch.randn(4, 8, 16, generator=generator)

    def get_text_embeddings(self, elevation, azimuth, camera_distances, view_dependent_prompting=True):
        batch = len(elevation)
        return torch.cat(
            [self.embeddings[:1].expand(batch, -1, -1), self.embeddings[1:2].expand(batch, -1, -1)]
        )

    def get_text_embeddings_perp_neg(
        self, elevation, azimuth, camera_distances, view_dependent_prompting=True
    ):
        batch = len(elevation)
        blocks = [self.embeddings[i : i + 1].expand(batch, -1, -1) for i in (0, 1)]
        negatives = self.embeddings[2:4].repeat(batch, 1, 1)
        return torch.cat([*blocks, negatives]), torch.full((batch, 2), -0.5)


def cameras(batch: int) -> dict[str, torch.Tensor]:
    return {name: torch.zeros(batch) for name in ("elevation", "azimuth", "camera_distances")}


def renders(batch: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(batch, size, size, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
