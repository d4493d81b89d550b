"""Images of nothing in the tiny world, in its colours and light: what a judge must not take for an object.

Plain solids by their closed forms, soft blobs, noise, flat fields, renders blurred beyond telling, and
mixtures of two objects.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tinyworld.render import (
    RESOLUTION,
    SUPERSAMPLING,
    Cameras,
    Geometry,
    sample_cameras,
    sample_lighting,
    shade,
)
from ..tinyworld.shapes import MATERIALS
from ..tinyworld.world import COLOURS
from .data import Images

SOLIDS = ("ball", "ellipsoid", "box", "cylinder")
PAINTED = (*SOLIDS, "blob", "noise", "flat")
"""Kinds that are made from nothing."""
KINDS = (*PAINTED, "blur", "mixture")
"""All kinds; the last two are made from true renders."""

_CHUNK = 64
_FIXED = tuple(i for i, albedo in enumerate(MATERIALS.values()) if not isinstance(albedo, float))


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator)


def _colours(n: int, generator: torch.Generator) -> Tensor:
    """Albedos of the world's colours, ``[n, 3]``."""
    return torch.tensor(list(COLOURS.values()))[torch.randint(len(COLOURS), (n,), generator=generator)]


def _backgrounds(n: int, generator: torch.Generator) -> Tensor:
    """Backgrounds as the world's renders have them, ``[n, 3, 1, 1]``."""
    cameras = sample_cameras(n, generator)
    return sample_lighting(cameras, generator).background[:, :, None, None]


def _rotations(n: int, generator: torch.Generator) -> Tensor:
    """Half upright and turned about the vertical, half turned at random, ``[n, 3, 3]``."""
    quaternion = torch.randn(n, 4, generator=generator)
    upright = torch.rand(n, generator=generator) < 0.5
    quaternion[upright, 1:3] = 0
    w, x, y, z = F.normalize(quaternion, dim=-1).unbind(-1)
    return torch.stack(
        (
            *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        ),
        -1,
    ).view(n, 3, 3)


def _sizes(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """Half sizes along a solid's own axes, ``[n, 3]``."""
    if kind == "ball":
        return _uniform(generator, 0.2, 0.6, n, 1).expand(-1, 3)
    sizes = _uniform(generator, 0.12, 0.5 if kind == "ellipsoid" else 0.4, n, 3)
    if kind == "cylinder":
        sizes[:, 1] = sizes[:, 0]
    return sizes


def _quadratic(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The smaller root of ``a t^2 + 2 b t + c``; infinite where there is none."""
    root = (b * b - a * c).clamp_min(0).sqrt()
    return torch.where(b * b > a * c, (-b - root) / a.clamp_min(1e-12), torch.inf)


def _slabs(o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays enter each axis' slab [-1, 1] and leave it, two ``[..., 3]``."""
    safe = torch.where(d.abs() < 1e-9, 1e-9, d)
    one, other = (-1 - o) / safe, (1 - o) / safe
    return torch.minimum(one, other), torch.maximum(one, other)


def _enter(kind: str, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Where rays first meet a unit solid.

    Args:
        kind: The solid.
        o: Origins ``[..., 3]`` in its own axes.
        d: Directions ``[..., 3]``.

    Returns:
        Distances ``[...]``, infinite where a ray misses, and normals ``[..., 3]`` in its own axes.
    """
    if kind in ("ball", "ellipsoid"):
        t = _quadratic((d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1)
        return t, o + torch.where(t.isfinite(), t, 0)[..., None] * d
    near, far = _slabs(o, d)
    if kind == "box":
        t, axis = near.max(-1)
        t = torch.where(t < far.amin(-1), t, torch.inf)
        return t, F.one_hot(axis, 3) * -d.sign()
    a, b = (d[..., :2] ** 2).sum(-1), (o[..., :2] * d[..., :2]).sum(-1)
    c = (o[..., :2] ** 2).sum(-1) - 1
    wall = _quadratic(a, b, c)
    leave = torch.where(wall.isfinite(), (-b + (b * b - a * c).clamp_min(0).sqrt()) / a.clamp_min(1e-12), -1)
    t = torch.maximum(wall, near[..., 2])
    t = torch.where(t < torch.minimum(leave, far[..., 2]), t, torch.inf)
    point = o + torch.where(t.isfinite(), t, 0)[..., None] * d
    side = torch.cat((point[..., :2], torch.zeros_like(point[..., 2:])), -1)
    cap = torch.cat((torch.zeros_like(point[..., :2]), -d[..., 2:].sign()), -1)
    return t, torch.where((wall > near[..., 2])[..., None], side, cap)


def solid_geometry(kind: str, cameras: Cameras, generator: torch.Generator) -> Geometry:
    """Solids of random sizes and turns, every other one with patches of the world's other materials."""
    n, size = len(cameras), RESOLUTION * SUPERSAMPLING
    sizes, rotation = _sizes(kind, n, generator), _rotations(n, generator)
    centre = _uniform(generator, -0.08, 0.08, n, 3)
    directions = cameras.rays(size).flatten(1, 2)  # [n, rays, 3]
    d = directions @ rotation / sizes[:, None]
    o = ((cameras.position - centre)[:, None] @ rotation / sizes[:, None]).expand_as(d)
    t, normal = _enter(kind, o, d)
    hit = t.isfinite()
    position = cameras.position[:, None] + torch.where(hit, t, 0)[..., None] * directions
    normal = F.normalize((normal / sizes[:, None]) @ rotation.mT, dim=-1)
    material = torch.where(hit, 0, 255).to(torch.uint8)
    for _ in range(3):
        spot = centre + 0.9 * sizes.amax(-1, keepdim=True) * F.normalize(
            torch.randn(n, 3, generator=generator), dim=-1
        )
        reach = _uniform(generator, -0.3, 0.3, n, 1)  # one in two has none
        patch = torch.tensor(_FIXED)[torch.randint(len(_FIXED), (n, 1), generator=generator)]
        inside = hit & ((position - spot[:, None]).norm(dim=-1) < reach)
        material = torch.where(inside, patch.to(torch.uint8), material)
    shape = (n, size, size)
    return Geometry(material.view(shape), normal.view(*shape, 3), position.view(*shape, 3))


@torch.no_grad()
def solids(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """Plain solids, some with patches, in the world's colours and light, ``[n, 3, 64, 64]`` in [0, 1]."""
    parts = []
    for start in range(0, n, _CHUNK):
        cameras = sample_cameras(min(_CHUNK, n - start), generator)
        geometry = solid_geometry(kind, cameras, generator)
        colour = _colours(len(cameras), generator)
        parts.append(shade(geometry, colour, sample_lighting(cameras, generator)))
    return torch.cat(parts).permute(0, 3, 1, 2)


def _field(n: int, channels: int, low: int, high: int, generator: torch.Generator) -> Tensor:
    """Smooth random fields of `low` to `high` cells a side, standard normal, ``[n, channels, 64, 64]``."""
    cells = torch.randint(low, high + 1, (n,), generator=generator).tolist()
    fields = [
        F.interpolate(torch.randn(1, channels, k, k, generator=generator), (RESOLUTION,) * 2, mode="bicubic")
        for k in cells
    ]
    return torch.cat(fields)


def blobs(n: int, generator: torch.Generator) -> Tensor:
    """Smooth random density in one colour or two, some soft and some with an edge, ``[n, 3, 64, 64]``."""
    axis = torch.linspace(-1, 1, RESOLUTION)
    shift = _uniform(generator, -0.15, 0.15, n, 2)
    x, y = axis[None, None] - shift[:, :1, None], axis[None, :, None] - shift[:, 1:, None]
    radius = _uniform(generator, 0.3, 0.75, n, 1, 1)
    bump = (radius - (x * x + y * y).sqrt()) / radius
    density = bump[:, None] + _uniform(generator, 0.1, 0.6, n, 1, 1, 1) * _field(n, 1, 3, 7, generator)
    sharpness = torch.exp(_uniform(generator, 0.5, 3.5, n, 1, 1, 1))
    alpha = torch.sigmoid(sharpness * density)
    share = torch.sigmoid(4 * _field(n, 1, 2, 6, generator))
    share = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, share, 1.0)
    one, other = (_colours(n, generator)[:, :, None, None] for _ in range(2))
    light = 0.85 + _uniform(generator, 0, 0.25, n, 1, 1, 1) * _field(n, 1, 2, 6, generator)
    colour = (share * one + (1 - share) * other) * light
    return (alpha * colour + (1 - alpha) * _backgrounds(n, generator)).clamp(0, 1)


def noises(n: int, generator: torch.Generator) -> Tensor:
    """Noise of every grain about a colour of the world or its background, ``[n, 3, 64, 64]``."""
    base = _backgrounds(n, generator)
    coloured = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    base = torch.where(coloured, _colours(n, generator)[:, :, None, None], base)
    fine = torch.randn(n, 3, RESOLUTION, RESOLUTION, generator=generator)
    grain = torch.where(
        torch.rand(n, 1, 1, 1, generator=generator) < 0.5, fine, _field(n, 3, 4, 32, generator)
    )
    grey = torch.rand(n, 1, 1, 1, generator=generator) < 0.3
    grain = torch.where(grey, grain.mean(1, keepdim=True), grain)
    return (base + _uniform(generator, 0.1, 0.6, n, 1, 1, 1) * grain).clamp(0, 1)


def flats(n: int, generator: torch.Generator) -> Tensor:
    """Flat fields and slopes of the world's colours and backgrounds, ``[n, 3, 64, 64]``."""
    one = _backgrounds(n, generator)
    other = torch.where(
        torch.rand(n, 1, 1, 1, generator=generator) < 0.5, _colours(n, generator)[:, :, None, None], one
    )
    angle = _uniform(generator, 0, 2 * torch.pi, n, 1, 1)
    axis = torch.linspace(-1, 1, RESOLUTION)
    slope = 0.5 + 0.35 * (angle.cos() * axis[None, None] + angle.sin() * axis[None, :, None])
    sloping = torch.rand(n, 1, 1, generator=generator) < 0.5
    share = torch.where(sloping, slope, torch.rand(n, 1, 1, generator=generator).round())[:, None]
    return share * one + (1 - share) * other


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    """Images ``[n, 3, 64, 64]`` of which 5 to 9 pixels a side are left: nobody could say what they show."""
    cells = torch.randint(5, 10, (len(images),), generator=generator).tolist()
    return torch.cat(
        [
            F.interpolate(
                F.interpolate(image[None], (k, k), mode="bilinear", antialias=True),
                (RESOLUTION,) * 2,
                mode="bicubic",
            )
            for image, k in zip(images, cells, strict=True)
        ]
    ).clamp(0, 1)


def mixtures(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Two objects in one image: an average, a smooth blend, or half of each.

    Args:
        images: ``[n, 3, 64, 64]``.
        others: As many, of other objects.
        generator: The randomness.
    """
    n = len(images)
    even = _uniform(generator, 0.35, 0.65, n, 1, 1, 1).expand(-1, 1, RESOLUTION, RESOLUTION)
    smooth = 0.5 + 0.25 * torch.tanh(2 * _field(n, 1, 2, 5, generator))
    half = (torch.arange(RESOLUTION) < RESOLUTION // 2).float()
    down = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    split = torch.where(down, half[None, None, :, None], half[None, None, None, :])
    way = torch.randint(3, (n, 1, 1, 1), generator=generator)
    weight = torch.where(way == 0, even, torch.where(way == 1, smooth, split))
    return weight * images + (1 - weight) * others


_PAINTERS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "blob": blobs,
    "noise": noises,
    "flat": flats,
}


def painted(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """Images of one of [`PAINTED`][], ``[n, 3, 64, 64]`` in [0, 1]."""
    return solids(kind, n, generator) if kind in SOLIDS else _PAINTERS[kind](n, generator)


def other_objects(objects: Tensor, pool: Tensor, generator: torch.Generator) -> Tensor:
    """For each of `objects` ``[n]`` a random index into `pool` of another object, ``[n]``."""
    differs = (objects[:, None] != pool[None]).float()
    return torch.multinomial(differs, 1, generator=generator).squeeze(-1)


def negatives(kind: str, n: int, images: Images, generator: torch.Generator) -> Tensor:
    """Images of one of [`KINDS`][], ``[n, 3, 64, 64]`` in [0, 1].

    Args:
        kind: What they are.
        n: How many.
        images: True renders to make them from.
        generator: The randomness.
    """
    if kind in PAINTED:
        return painted(kind, n, generator)
    index = torch.randint(len(images), (n,), generator=generator)
    chosen = images[index]
    if kind == "blur":
        return blurred(chosen.float, generator)
    other = other_objects(chosen.object, images.object, generator)
    return mixtures(chosen.float, images[other].float, generator)
