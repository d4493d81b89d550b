"""What a text-to-2D experiment's blocks must agree on, and the memory that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import threestudio
import torch

from ..errors import UserError, did_you_mean
from ..fields import listed
from ..losses import require_weights
from ..machine import device_memory

SIZES = (
    "data.n_particles, data.batch_size, data.height, data.width, "
    "data.eval_height, data.eval_width, system.geometry"
)


def check_image_experiment(settings: Mapping[str, Any], defaults: Any) -> None:
    """Check an experiment whose system is `msd-image-system`.

    Args:
        settings: The whole config; every value fits its own key.
        defaults: The system's `Config`.

    Raises:
        UserError: What is wrong.
    """
    data, system = settings.get("data", {}), settings["system"]
    geometry, particles = system.get("geometry", {}), data.get("n_particles", 1)
    at_once = data.get("batch_size") or particles
    batches = settings.get("trainer", {}).get("accumulate_grad_batches", 1)
    require_every_particle(particles, geometry.get("n_particles", 1), at_once, batches)
    if system.get("guidance", {}).get("camera_condition_type", "none") != "none":
        raise UserError("system.guidance.camera_condition_type: expected none, there is no camera")
    guidance = threestudio.find(system.get("guidance_type", defaults.guidance_type))
    require_weights(system.get("loss", {}), guidance)
    require_modules(system["optimizer"].get("params", {}), guidance)
    images = threestudio.find(system.get("geometry_type", defaults.geometry_type))
    if hasattr(images, "size"):
        require_memory(memory_needed(data, at_once, *images.size(images.Config(**geometry))))


def require_every_particle(data: int, geometry: int, batch_size: int | None, batches: int) -> None:
    """Check that every optimiser step reaches every particle once.

    Args:
        data: Particles that the data module renders.
        geometry: Particles there are.
        batch_size: Particles rendered at once; None for all.
        batches: Whose gradients an optimiser step adds up.

    Raises:
        UserError: They do not agree.
    """
    if data != geometry:
        raise UserError(
            f"system.geometry.n_particles: expected data.n_particles, {data}, got {geometry}; "
            "write ${data.n_particles}"
        )
    wanted = geometry // (batch_size or geometry)
    if batches != wanted:
        raise UserError(
            f"trainer.accumulate_grad_batches: expected {wanted}, data.n_particles / data.batch_size, "
            f"got {batches}"
        )


def require_modules(names: Iterable[str], guidance: type) -> None:
    """Check that the modules which an optimiser is to train are there and have parameters.

    The guidance may have none, which trains nothing: a config whose `guidance_type` was overridden keeps its
    group.

    Raises:
        UserError: One has not.
    """
    trained = ["geometry", *["guidance"] * issubclass(guidance, torch.nn.Module)]
    for name in names:
        if name.partition(".")[0] not in (*trained, "guidance"):
            near = did_you_mean(name, trained) or f"; known: {listed(trained)}"
            raise UserError(f"system.optimizer.params.{name}: nothing of this name can be trained{near}")


def memory_needed(data: Mapping[str, Any], at_once: int, per_pixel: int, parameters: int) -> int:
    """Bytes that training and evaluation need at least, beside the pretrained model.

    Args:
        data: The block `data`.
        at_once: Particles rendered at once.
        per_pixel: Numbers kept for the gradient, a pixel and particle.
        parameters: Of one particle; an optimiser keeps their gradient and two averages of it.
    """
    particles = data.get("n_particles", 1)
    height, width = data.get("height", 64), data.get("width", 64)
    results = data.get("eval_height", 64) * data.get("eval_width", 64)
    train = at_once * height * width * per_pixel
    evaluation = results * (per_pixel // 2 + 3 * particles)  # rendered one by one, then side by side
    return 4 * (max(train, evaluation) + 4 * particles * parameters)


def require_memory(needed: int) -> None:
    """Check that what is needed could fit into the GPU's memory, or the machine's where there is none.

    Raises:
        UserError: It could not, not even if all of it were free.
    """
    there = device_memory()
    if needed > there:
        raise UserError(
            f"{SIZES}: these sizes need {needed / 1e9:.3g} GB, and {there / 1e9:.3g} GB are there"
        )
