"""Low-rank adapters on a pretrained UNet: VSD's denoiser phi of the distribution of
renders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..distillation.protocols import Batch
from ..errors import first_line
from .denoisers import Levels
from .errors import PriorError

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]
CAMERA_NUMBERS = 16  # of a 4 x 4 matrix
NEEDED = "pip install 'diffusers>=0.33' 'peft>=0.14'"


class LoRANetwork(nn.Module):
    """A UNet with low-rank adapters on its attention layers, which are on during this
    module's calls only.

    Called as `network(sample, timestep, **condition)`, like the UNet, it returns the
    raw prediction. Its parameters are the adapters' alone: the frozen UNet's are
    neither optimised nor saved.

    Args:
        unet: A diffusers UNet2DConditionModel, frozen; gets the adapters.
        call: Calls the UNet: `call(sample, timestep, **condition)`.
        rank: Rank of the adapters.
        camera: Whether calls pass `class_labels`, a camera matrix for each row, `[N,
            16]`, for which an embedding is learned.
        gradient_scale: Power of two by which gradients are larger inside the network,
            and divided at the parameters; those of a mean over many latents underflow
            in float16 otherwise.
        seed: Seed of the initialisation: A is normal with standard deviation 1 / rank,
            B is zero, so that the network starts as the UNet.

    Raises:
        PriorError: peft is missing, or diffusers is too old.
    """

    def __init__(
        self,
        unet: Any,
        call: Callable[..., Tensor],
        rank: int = 4,
        camera: bool = False,
        seed: int = 0,
        gradient_scale: float = 1.0,
    ) -> None:
        # peft and diffusers take seconds to import
        try:
            from diffusers.models.embeddings import TimestepEmbedding
            from diffusers.training_utils import cast_training_params
            from peft import LoraConfig
        except ImportError as error:
            raise PriorError(f"adapters need newer parts ({first_line(error)}): {NEEDED}") from error

        super().__init__()
        self._unet = [unet]  # in a list, so that its weights are not this module's
        self._call = call
        self.gradient_scale = gradient_scale
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            unet.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=ATTENTION),
                "phi",
            )
            width = unet.time_embedding.linear_2.out_features
            self.camera_embedding: Any = (
                TimestepEmbedding(CAMERA_NUMBERS, width).to(unet.device) if camera else None
            )
        cast_training_params(unet)  # adapters are trained in float32 on a UNet of any precision
        adapters = {name.replace(".", "/"): p for name, p in unet.named_parameters() if p.requires_grad}
        self.adapters = nn.ParameterDict(adapters)
        for parameter in self.parameters():
            parameter.register_hook(lambda gradient: gradient / self.gradient_scale)
        self._switch_off()

    def forward(self, sample: Batch, timestep: Levels, **condition: Tensor) -> Batch:
        with self._switched_on():
            prediction = self._call(sample, timestep, **condition).float()
        if prediction.requires_grad:
            prediction.register_hook(lambda gradient: gradient * self.gradient_scale)
        return prediction

    @contextmanager
    def _switched_on(self) -> Iterator[None]:
        (unet,) = self._unet
        unet.enable_adapters()
        unet.class_embedding = self._embed_camera if self.camera_embedding is not None else None
        try:
            yield
        finally:
            self._switch_off()

    def _switch_off(self) -> None:
        (unet,) = self._unet
        unet.disable_adapters()
        unet.class_embedding = None
        for parameter in self.adapters.values():
            # peft freezes what it disables, and gradients still to come would be lost
            parameter.requires_grad_(True)

    def _embed_camera(self, matrices: Tensor) -> Tensor:
        return self.camera_embedding(matrices.to(self.camera_embedding.linear_1.weight.dtype))
