"""What a text-to-3D experiment's blocks must agree on, and the memory that they need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import threestudio
import torch
from threestudio.utils.config import C_max

from ..errors import UserError, did_you_mean
from ..fields import listed
from ..losses import require_weights
from ..machine import device_memory

LOSSES = ("orient", "sparsity", "opaque", "z_variance", "tv")
"""What threestudio's text-to-3D systems and `msd-scene` weigh beside the guidance's losses."""
NEEDED = ("orient", "sparsity", "opaque")
"""Those that the systems read whether they are on or off."""
MODULES = ("geometry", "material", "background", "renderer", "guidance")
SIZES = (
    "data.batch_size, data.height, data.width, data.n_cameras, data.eval_height, data.eval_width, "
    "data.n_val_views, data.n_test_views, system.renderer.num_samples_per_ray, system.geometry"
)
RAY, SAMPLE, PIXEL = 6, 8, 10
"""Numbers kept of a ray, of a sample along it, and of a pixel of a result, at least."""


def check_scene_experiment(settings: Mapping[str, Any]) -> None:
    """Check an experiment whose system has the mixin `msd-scene`.

    Args:
        settings: The whole config; every value fits its own key.

    Raises:
        UserError: What is wrong.
    """
    system = settings["system"]
    losses, guidance = system.get("loss", {}), threestudio.find(system["guidance_type"])
    require_weights(losses, guidance, LOSSES)
    for name in NEEDED:
        if f"lambda_{name}" not in losses:
            raise UserError(f"system.loss.lambda_{name}: no value is given; append it, 0.0 is off")
    material = system.get("material", {})
    bare = system.get("material_type") == "no-material" and not material.get("requires_normal")
    if bare and C_max(losses["lambda_orient"]) > 0:
        raise UserError(
            "system.loss.lambda_orient: expected 0, as no-material needs no normals; "
            "append system.material.requires_normal=true, or lower it"
        )
    geometry = threestudio.find(system["geometry_type"])
    if C_max(losses.get("lambda_tv", 0.0)) > 0 and not hasattr(geometry, "total_variation"):
        raise UserError(
            f"system.loss.lambda_tv: {system['geometry_type']} has no total variation, "
            "msd-multiscale-grid has"
        )
    require_modules((system.get("optimizer") or {}).get("params") or {}, guidance)
    require_memory(settings.get("data", {}), system)


def require_modules(names: Iterable[str], guidance: type) -> None:
    """Check that what an optimiser is to train is there.

    Raises:
        UserError: A name is none of a module.
    """
    for name in names:
        if name.partition(".")[0] not in MODULES:
            near = did_you_mean(name, MODULES) or f"; known: {listed(MODULES)}"
            raise UserError(f"system.optimizer.params.{name}: nothing of this name can be trained{near}")
    if set(names) == {"guidance"} and not issubclass(guidance, torch.nn.Module):
        raise UserError("system.optimizer.params: expected a module to optimise, such as geometry")


def require_memory(data: Mapping[str, Any], system: Mapping[str, Any]) -> None:
    """Check that what is needed could fit into the GPU's memory, or the machine's where there is none.

    Raises:
        UserError: It could not, not even if all of it were free.
    """
    needed, there = memory_needed(data, system), device_memory()
    if needed > there:
        raise UserError(
            f"{SIZES}: these sizes need {needed / 1e9:.3g} GB, and {there / 1e9:.3g} GB are there"
        )


def memory_needed(data: Mapping[str, Any], system: Mapping[str, Any]) -> float:
    """Bytes that training and evaluation need at least, beside the pretrained model.

    Args:
        data: The block `data`.
        system: The block `system`.
    """
    pixels = _largest(data.get("height", 64)) * _largest(data.get("width", 64))
    at_once = _largest(data.get("batch_size", 1))
    samples = system.get("renderer", {}).get("num_samples_per_ray", 512)
    # a ray crosses the ball on part of the box's diagonal, and of that half may be empty
    train = pixels * (max(at_once, data.get("n_cameras", 1)) * RAY + at_once * samples * SAMPLE / 4)
    views = max(data.get("n_val_views", 1), data.get("n_test_views", 1))
    results = data.get("eval_height", 512) * data.get("eval_width", 512) * (views * RAY + PIXEL)
    return 4 * (max(train, results) + 4 * parameters(system.get("geometry", {})))


def parameters(geometry: Mapping[str, Any]) -> float:
    """Parameters of a geometry's lattices, dense or hashed; those of its networks are few."""
    lattices = 4 * sum(size**3 for size in geometry.get("sizes", ()))
    lattices += 4 * math.prod(geometry.get("grid_size") or (0,))
    hashed = geometry.get("pos_encoding_config") or {}
    if "log2_hashmap_size" in hashed:
        features = hashed.get("n_levels", 16) * hashed.get("n_features_per_level", 2)
        lattices += features * min(2 ** hashed["log2_hashmap_size"], _finest(hashed) ** 3)
    return lattices


def _finest(hashed: Mapping[str, Any]) -> float:
    return hashed.get("base_resolution", 16) * hashed.get("per_level_scale", 2.0) ** min(
        hashed.get("n_levels", 16) - 1, 64
    )


def _largest(size: Any) -> int:
    return max(size) if isinstance(size, list) else size
