"""Checks of settings that concern more than one block of an experiment, and of the
memory that they need.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import threestudio
import torch
from threestudio.utils.config import C_max

from .errors import UserError, did_you_mean
from .fields import listed
from .machine import device_memory
from .settings import once
from .vocabulary import unknown_prompt

SCENE_LOSSES = ("orient", "sparsity", "opaque", "z_variance", "tv")
"""Losses of threestudio's text-to-3D systems and of `msd-scene`, beside the guidance's."""
ALWAYS_READ = SCENE_LOSSES[:3]
"""Losses whose weights the systems read whether they are on or off."""
READ_OF_SYSTEMS = ("visualize_samples", "start_editing_step", "freq", "loss", "optimizer")
"""Settings of a system that a guidance module depends on."""
SCENE_MODULES = ("geometry", "material", "background", "renderer", "guidance")
PARTICLE_SIZES = (
    "data.n_particles, data.batch_size, data.height, data.width, data.eval_height, data.eval_width, "
    "system.geometry"
)
VIEW_SIZES = (
    "data.batch_size, data.height, data.width, data.cameras_per_round, data.eval_height, data.eval_width, "
    "data.n_val_views, data.n_test_views, system.renderer.num_samples_per_ray, system.geometry"
)
RAY, SAMPLE, PIXEL = 6, 8, 10
"""Numbers kept of a ray, of a sample along it, and of a pixel of a result, at least."""


def check_image_experiment(settings: Mapping[str, Any], defaults: Any) -> None:
    """Check the settings of an experiment whose system is `msd-image-system`.

    Particles must agree between data and geometry, every loss needs a weight and every
    weight a loss, the optimiser's groups must exist, the guidance must take no camera,
    and the images must fit into memory.

    Args:
        settings: The whole config; every value already fits its own key.
        defaults: The system's `Config`, for keys that are not set.

    Raises:
        UserError: One of these does not hold; the message begins with the key.
    """
    data, system = settings.get("data", {}), settings["system"]
    geometry, particles = system.get("geometry", {}), data.get("n_particles", 1)
    at_once = data.get("batch_size") or particles
    batches = settings.get("trainer", {}).get("accumulate_grad_batches", 1)
    require_every_particle(particles, geometry.get("n_particles", 1), at_once, batches)
    if system.get("guidance", {}).get("camera_condition_type", "none") != "none":
        raise UserError("system.guidance.camera_condition_type: expected none, there is no camera")
    guidance = threestudio.find(system.get("guidance_type", defaults.guidance_type))
    require_losses(system.get("loss", {}), guidance)
    # an overridden guidance_type leaves its group behind, which then trains nothing
    require_modules(system["optimizer"].get("params", {}), ("geometry", "guidance"))
    images = threestudio.find(system.get("geometry_type", defaults.geometry_type))
    if hasattr(images, "size"):
        per_pixel, parameters = images.size(images.Config(**geometry))
        require_memory(image_memory(data, at_once, per_pixel, parameters), PARTICLE_SIZES)


def check_scene_experiment(settings: Mapping[str, Any]) -> None:
    """Check the settings of an experiment whose system has the mixin `msd-scene`.

    Every loss needs a weight and every weight a loss, the losses must suit material and
    geometry, the optimiser's groups must exist, and the scene must fit into memory.

    Args:
        settings: The whole config; every value already fits its own key.

    Raises:
        UserError: One of these does not hold; the message begins with the key.
    """
    system = settings["system"]
    losses, guidance = system.get("loss", {}), threestudio.find(system["guidance_type"])
    require_losses(losses, guidance, SCENE_LOSSES)
    if settings.get("data", {}).get("rays_per_fit") and not getattr(guidance, "gives_targets", False):
        raise UserError(
            f"data.rays_per_fit: expected 0 with {system['guidance_type']}, whose estimates cannot be held "
            "for a round"
        )
    for name in ALWAYS_READ:
        if f"lambda_{name}" not in losses:
            raise UserError(f"system.loss.lambda_{name}: no value is given; append it, 0.0 is off")
    material = system.get("material", {})
    bare = system.get("material_type") == "no-material" and not material.get("requires_normal")
    if bare and C_max(losses["lambda_orient"]) > 0:
        raise UserError(
            "system.loss.lambda_orient: expected 0, as no-material needs no normals; "
            "append system.material.requires_normal=true, or lower it"
        )
    if C_max(losses.get("lambda_tv", 0.0)) > 0:
        require_total_variation(threestudio.find(system["geometry_type"]), system["geometry_type"])
    groups = (system.get("optimizer") or {}).get("params") or {}
    require_modules(groups, SCENE_MODULES)
    if set(groups) == {"guidance"} and not issubclass(guidance, torch.nn.Module):
        raise UserError("system.optimizer.params: expected a module to optimise, such as geometry")
    require_memory(scene_memory(settings.get("data", {}), system), VIEW_SIZES)


def check_system(cls: type, system: Mapping[str, Any], key: str = "guidance") -> None:
    """Check the settings of a system for what a guidance module needs of it.

    Args:
        cls: One of this package's guidance modules.
        system: The system's settings.
        key: The module's block among them; magic123-system has a `guidance_3d` too.

    Raises:
        UserError: A loss of the guidance has no weight, its own parameters have no
            optimiser group, or the system asks for samples or edits that it cannot
            give. The message names the override that helps.
    """
    read = {name: system.get(name) for name in READ_OF_SYSTEMS}
    _check_system(
        cls, {name: block for name, block in read.items() if block is not None and block is not False}, key
    )


@once
def _check_system(cls: Any, system: Mapping[str, Any], key: str) -> None:
    trained = issubclass(cls, torch.nn.Module)
    if system.get("visualize_samples"):
        raise UserError("system.visualize_samples: expected false, these modules draw no samples")
    if "start_editing_step" in system:  # as the editing systems of threestudio have, which take no loss
        if trained:
            raise UserError(
                "system.guidance_type: an editing system takes no loss, without which this trains nothing"
            )
        return
    reads_sds = "freq" in system  # as the image-conditioned systems of threestudio do
    prefix = "3d_" if key == "guidance_3d" else ""
    require_weights(system.get("loss") or {}, ["sds"] if reads_sds else cls.losses(), prefix)
    groups = (system.get("optimizer") or {}).get("params")
    if trained and groups is not None and not any(group.split(".")[0] == key for group in groups):
        raise UserError(
            f"system.optimizer.params.{key}: no value is given, and the guidance has parameters to train; "
            f"append system.optimizer.params.{key}.lr=1e-4"
        )


def require_weights(weights: Mapping[str, Any], losses: Iterable[str], prefix: str = "") -> None:
    """Check that every loss has a weight.

    Args:
        weights: The block `system.loss`: weights by `lambda_NAME`.
        losses: NAMEs of losses.
        prefix: Put before NAME, as in `lambda_3d_sds`.

    Raises:
        UserError: A loss has no weight; the message names the override that adds it.
    """
    for name in losses:
        key = f"lambda_{prefix}{name}"
        if key not in weights:
            raise UserError(
                f"system.loss.{key}: no value is given, and the guidance returns loss_{name}"
                f"{did_you_mean(key, weights)}; append system.loss.{key}=1.0"
            )


def require_losses(weights: Mapping[str, Any], guidance: type, further: Iterable[str] = ()) -> None:
    """Check that every loss of a guidance has a weight, and every weight a loss.

    Args:
        weights: The block `system.loss`: weights by `lambda_NAME`.
        guidance: The guidance class, whose classmethod `losses` returns the NAMEs; a
            class without that method passes.
        further: NAMEs of the system's other losses, which need no weight.

    Raises:
        UserError: A loss has no weight, or a weight no loss.
    """
    if hasattr(guidance, "losses"):
        require_weights(weights, guidance.losses())
        known = [f"lambda_{name}" for name in (*guidance.losses(), *further)]
        for name in weights:
            _require_known("system.loss", name, name, known, "no loss has this weight")


def require_modules(names: Iterable[str], known: Iterable[str]) -> None:
    """Check that the modules that an optimiser is to train exist.

    Args:
        names: Dotted names of modules or of their parts, such as `geometry.encoding`.
        known: Names of the system's modules.

    Raises:
        UserError: A module does not exist.
    """
    for name in names:
        module = name.partition(".")[0]
        _require_known("system.optimizer.params", name, module, known, "nothing of this name can be trained")


def _require_known(block: str, key: str, name: str, known: Iterable[str], complaint: str) -> None:
    if name not in known:
        near = did_you_mean(key, known) or f"; known: {listed(known)}"
        raise UserError(f"{block}.{key}: {complaint}{near}")


def require_total_variation(geometry: object, kind: str) -> None:
    """Check that a geometry has the method `total_variation`.

    Args:
        geometry: The geometry or its class.
        kind: Its registered name, for the message.

    Raises:
        UserError: It has no such method.
    """
    if not hasattr(geometry, "total_variation"):
        raise UserError(f"system.loss.lambda_tv: {kind} has no total variation, msd-multiscale-grid has")


def require_every_particle(data: int, geometry: int, batch_size: int | None, batches: int) -> None:
    """Check that every optimiser step reaches every particle once.

    Args:
        data: Particles that the data module renders.
        geometry: Particles of the geometry.
        batch_size: Particles rendered at once; None for all.
        batches: Batches whose gradients an optimiser step adds up.

    Raises:
        UserError: `data` differs from `geometry`, or `batches` is not `geometry /
            batch_size`.
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


def require_memory(needed: float, sizes: str) -> None:
    """Check that a number of bytes fits into the GPU's memory, or the machine's if
    there is no GPU.

    Args:
        needed: Bytes.
        sizes: The keys that the number depends on; the message begins with them.

    Raises:
        UserError: It is more than the whole memory, used or not.
    """
    there = device_memory()
    if needed > there:
        raise UserError(
            f"{sizes}: these sizes need {needed / 1e9:.3g} GB, and {there / 1e9:.3g} GB are there"
        )


def image_memory(data: Mapping[str, Any], at_once: int, per_pixel: int, parameters: int) -> int:
    """Estimate the bytes that images take at least, in training and evaluation, apart
    from the pretrained model.

    Args:
        data: The block `data`.
        at_once: Particles rendered at once.
        per_pixel: Numbers kept for the gradient, per pixel and particle.
        parameters: Parameters of one particle; an optimiser keeps their gradient and
            two averages of it.

    Returns:
        Bytes, a lower bound.
    """
    particles = data.get("n_particles", 1)
    results = data.get("eval_height", 64) * data.get("eval_width", 64)
    train = at_once * data.get("height", 64) * data.get("width", 64) * per_pixel
    evaluation = results * (per_pixel // 2 + 3 * particles)  # rendered one by one, then side by side
    return 4 * (max(train, evaluation) + 4 * particles * parameters)


def scene_memory(data: Mapping[str, Any], system: Mapping[str, Any]) -> float:
    """Estimate the bytes that a scene takes at least, in training and evaluation, apart
    from the pretrained model.

    Args:
        data: The block `data`.
        system: The block `system`.

    Returns:
        Bytes, a lower bound.
    """
    height, width, at_once = (
        max(size) if isinstance(size, list) else size
        for size in (data.get("height", 64), data.get("width", 64), data.get("batch_size", 1))
    )
    samples = system.get("renderer", {}).get("num_samples_per_ray", 512)
    # a ray crosses the ball on part of the box's diagonal, and of that half may be empty
    cameras = data.get("n_cameras") or data.get("cameras_per_round", 1)
    rays = max(at_once, cameras) * RAY + at_once * samples * SAMPLE / 4
    views = max(data.get("n_val_views", 1), data.get("n_test_views", 1))
    results = data.get("eval_height", 512) * data.get("eval_width", 512) * (views * RAY + PIXEL)
    parameters = lattice_parameters(system.get("geometry", {}))
    return 4 * (max(height * width * rays, results) + 4 * parameters)


def lattice_parameters(geometry: Mapping[str, Any]) -> float:
    """Count the parameters of a geometry's dense or hashed lattices, without those of
    its networks, which are few.

    Args:
        geometry: The geometry's settings.
    """
    dense = 4 * sum(size**3 for size in geometry.get("sizes", ()))
    dense += 4 * math.prod(geometry.get("grid_size") or (0,))
    hashed = geometry.get("pos_encoding_config") or {}
    if "log2_hashmap_size" not in hashed:
        return dense
    levels = hashed.get("n_levels", 16)
    finest = hashed.get("base_resolution", 16) * hashed.get("per_level_scale", 2.0) ** min(levels - 1, 64)
    entries = min(2 ** hashed["log2_hashmap_size"], finest**3)
    return dense + levels * hashed.get("n_features_per_level", 2) * entries


def warn_of_unknown_prompt(prompt_processor: Any) -> None:
    """Warn in the log if the prior is a small one that was not trained on the prompt;
    else do nothing.

    Args:
        prompt_processor: The settings of the prompt processor, with `prompt` and
            `pretrained_model_name_or_path`.
    """
    model, prompt = (prompt_processor.get(key) for key in ("pretrained_model_name_or_path", "prompt"))
    warning = unknown_prompt(prompt or "", str(model))
    if warning:
        threestudio.warn(warning)
