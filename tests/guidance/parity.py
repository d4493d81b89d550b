"""Gradients of a threestudio checkout's own guidance modules on given inputs; run as a program, in a process
of its own.

Usage: parity.py CHECKOUT PIPELINE INPUTS OUTPUT [SHIM]

The checkout is imported unmodified, on a CPU through SHIM, a folder of stand-ins for its CUDA packages, where
that is given. INPUTS and OUTPUT are safetensors files.
"""

from __future__ import annotations

import random
import sys

import torch
from safetensors.torch import load_file, save_file

T, INVERSION_T = 400, 560


class PromptUtils:
    """Stands for threestudio's PromptProcessorOutput: (cond, uncond), whatever the camera."""

    def __init__(self, embeddings):
        self.use_perp_neg = False
        self.embeddings = embeddings

    def get_text_embeddings(self, elevation, azimuth, camera_distances, view_dependent_prompting=True):
        return torch.cat([row[None].expand(len(elevation), -1, -1) for row in self.embeddings])


def import_threestudio(checkout, shim):
    """The checkout's threestudio, and with a shim the repairs that its VSD needs under current diffusers."""
    sys.path.insert(0, checkout)
    if shim is None:
        import threestudio

        return threestudio
    sys.path.insert(0, shim)
    import threestudio_cpu

    threestudio = threestudio_cpu.install()
    import threestudio_cpu_drift  # noqa: F401  (installs itself)

    return threestudio


def clamp_time(guidance):
    """threestudio's SDI asks the network at timestep -N/10 first; ask at 0, the first timestep there is."""
    forward = guidance.forward_unet
    guidance.forward_unet = lambda latents, t, **condition: forward(latents, t.clamp(min=0), **condition)


def main(checkout, pipeline, inputs, output, shim=None):
    """Compute all gradients."""
    threestudio = import_threestudio(checkout, shim)
    tensors = load_file(inputs)
    latents, noise, batch = tensors["latents"], tensors["noise"], len(tensors["latents"])
    torch.randn_like = lambda like, **kwargs: noise.to(like)
    random.random = lambda: 0.5
    utils, zeros = PromptUtils(tensors["embeddings"]), torch.zeros(batch)
    settings = {"pretrained_model_name_or_path": pipeline, "half_precision_weights": False}
    results = {}

    sds = threestudio.find("stable-diffusion-guidance")({**settings, "guidance_scale": 100.0})
    t = torch.full((batch,), T)
    results["sds"] = sds.compute_grad_sds(latents, None, t, utils, zeros, zeros, zeros)[0]

    sdi = threestudio.find("stable-diffusion-sdi-guidance")({**settings, "guidance_scale": 7.5})
    clamp_time(sdi)
    rows = []
    for y, n in zip(
        latents.split(1), noise.split(1), strict=True
    ):  # threestudio's SDI takes one sample at a time
        torch.randn_like = lambda like, n=n, **kwargs: n.to(like)
        rows.append(
            y - sdi.compute_grad_sdi(y, torch.tensor([INVERSION_T]), utils, *zeros[:1].expand(3, 1))[0]
        )
    results["sdi"] = torch.cat(rows)
    torch.randn_like = lambda like, **kwargs: noise.to(like)

    vsd = threestudio.find("stable-diffusion-vsd-guidance")(
        {**settings, "pretrained_model_name_or_path_lora": pipeline, "guidance_scale": 7.5}
    )
    for name, processor in vsd.unet_lora.attn_processors.items():
        for part in ("to_q", "to_k", "to_v", "to_out"):
            layer = getattr(processor, f"{part}_lora")
            generator = torch.Generator().manual_seed(len(results))
            for side, linear in (("A", layer.down), ("B", layer.up)):
                with torch.no_grad():
                    linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * 0.1)
                place = f"{name.removesuffix('.processor')}.{part}{'.0' if part == 'to_out' else ''}"
                results[f"lora.{place}.lora_{side}.phi.weight"] = linear.weight.detach().clone()
    for name, parameter in vsd.camera_embedding.module.named_parameters():
        results[f"camera.{name}"] = parameter.detach().clone()
    vsd.min_step = vsd.max_step = T
    text = utils.get_text_embeddings(zeros, zeros, zeros)
    results["vsd"] = vsd.compute_grad_vsd(latents, text, text, tensors["c2w"])[0]
    save_file({name: tensor.contiguous() for name, tensor in results.items()}, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
