"""What autograd keeps for the encoder's gradient, at full size on the `meta` device, without weights.

python -m msd_lab.bench.encoder
"""

from __future__ import annotations

import torch

from .architectures import ARCHITECTURES
from .random_pipelines import on_meta

GIB = 2**30


def kept(like: str, dtype: torch.dtype, checkpointed: bool, batch: int = 4, size: int = 512) -> int:
    """Count the bytes of all tensors that the graph of an encoding holds, without the weights."""
    vae = on_meta(ARCHITECTURES[like].parts["vae"]).to(dtype).eval().requires_grad_(False)
    if checkpointed:
        vae.enable_gradient_checkpointing()
    weights = {id(parameter) for parameter in vae.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in weights and id(tensor._base) not in weights:
            storages[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    images = torch.empty(batch, 3, size, size, device="meta", dtype=dtype, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        vae.encode(images).latent_dist.mode()
    return sum(storage.nbytes() for storage in storages.values())


def main() -> None:
    print("| autoencoder | dtype | all kept, GiB | checkpointed, GiB |\n|---|---|---|---|")
    for dtype in (torch.float32, torch.float16):
        sizes = [f"{kept('sd21', dtype, checkpointed) / GIB:.2f}" for checkpointed in (False, True)]
        print(f"| Stable Diffusion 2.1 | {str(dtype).removeprefix('torch.')} | {' | '.join(sizes)} |")


if __name__ == "__main__":
    main()
