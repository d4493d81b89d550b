"""Images of nothing in the tiny world, in its colours and light: what a judge must not take for an object.

Plain solids by their closed forms, soft blobs, noise, flat fields, renders blurred
beyond recognition, and mixtures of two objects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

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
from .data import Images, chosen, uniform

SOLIDS = ("ball", "ellipsoid", "box", "cylinder")
_CHUNK = 64
_FIXED = tuple(i for i, albedo in enumerate(MATERIALS.values()) if not isinstance(albedo, float))


def _colours(n: int, generator: torch.Generator) -> Tensor:
    """Draw albedos of the world's colours, ``[n, 3, 1, 1]``."""
    index = torch.randint(len(COLOURS), (n,), generator=generator)
    return torch.tensor(list(COLOURS.values()))[index, :, None, None]


def _backgrounds(n: int, generator: torch.Generator) -> Tensor:
    """Draw backgrounds as renders have them, ``[n, 3, 1, 1]``."""
    return sample_lighting(sample_cameras(n, generator), generator).background[:, :, None, None]


def _rotations(n: int, generator: torch.Generator) -> Tensor:
    """Draw rotations, half of them about the vertical only, ``[n, 3, 3]``."""
    quaternion = torch.randn(n, 4, generator=generator)
    upright = torch.rand(n, generator=generator) < 0.5
    quaternion[upright, 1:3] = 0
    w, x, y, z = F.normalize(quaternion, dim=-1).unbind(-1)
    rows = (
        *(1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        *(2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        *(2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack(rows, -1).view(n, 3, 3)


def _sizes(kind: str, n: int, generator: torch.Generator) -> Tensor:
    if kind == "ball":
        return uniform(generator, 0.2, 0.6, n, 1).expand(-1, 3)
    sizes = uniform(generator, 0.12, 0.5 if kind == "ellipsoid" else 0.4, n, 3)
    if kind == "cylinder":
        sizes[:, 1] = sizes[:, 0]
    return sizes


def _roots(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Solve ``a t^2 + 2 b t + c = 0``: the smaller and the larger root, infinite and -1 without one."""
    real, root, divisor = b * b > a * c, (b * b - a * c).clamp_min(0).sqrt(), a.clamp_min(1e-12)
    return torch.where(real, (-b - root) / divisor, torch.inf), torch.where(real, (-b + root) / divisor, -1)


def _enter(kind: str, o: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """Find where rays first meet a unit solid.

    Args:
        kind: One of [`SOLIDS`][].
        o: Origins ``[..., 3]`` in its own axes.
        d: Directions ``[..., 3]``.

    Returns:
        Distances ``[...]``, infinite where a ray misses, and normals ``[..., 3]`` in
        its own axes.
    """
    if kind in ("ball", "ellipsoid"):
        t, _ = _roots((d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1)
        return t, o + torch.where(t.isfinite(), t, 0)[..., None] * d
    safe = torch.where(d.abs() < 1e-9, 1e-9, d)
    near, far = torch.stack(((-1 - o) / safe, (1 - o) / safe)).aminmax(dim=0)  # of each axis' slab [-1, 1]
    if kind == "box":
        t, axis = near.max(-1)
        return torch.where(t < far.amin(-1), t, torch.inf), F.one_hot(axis, 3) * -d.sign()
    a, b = (d[..., :2] ** 2).sum(-1), (o[..., :2] * d[..., :2]).sum(-1)
    wall, leave = _roots(a, b, (o[..., :2] ** 2).sum(-1) - 1)
    t = torch.maximum(wall, near[..., 2])
    t = torch.where(t < torch.minimum(leave, far[..., 2]), t, torch.inf)
    point = o + torch.where(t.isfinite(), t, 0)[..., None] * d
    upright = point.new_tensor([0.0, 0, 1])
    through_wall = (wall > near[..., 2])[..., None]
    return t, torch.where(through_wall, point * (1 - upright), -d.sign() * upright)


def solid_geometry(kind: str, cameras: Cameras, generator: torch.Generator) -> Geometry:
    """Trace solids of random sizes and rotations, every other one with patches of other materials."""
    n, size = len(cameras), RESOLUTION * SUPERSAMPLING
    sizes, rotation = _sizes(kind, n, generator), _rotations(n, generator)
    centre = uniform(generator, -0.08, 0.08, n, 3)
    directions = cameras.rays(size).flatten(1, 2)  # [n, rays, 3]
    d = directions @ rotation / sizes[:, None]
    o = ((cameras.position - centre)[:, None] @ rotation / sizes[:, None]).expand_as(d)
    t, normal = _enter(kind, o, d)
    hit = t.isfinite()
    position = cameras.position[:, None] + torch.where(hit, t, 0)[..., None] * directions
    normal = F.normalize((normal / sizes[:, None]) @ rotation.mT, dim=-1)
    material = torch.where(hit, 0, 255).to(torch.uint8)
    for _ in range(3):
        direction = F.normalize(torch.randn(n, 3, generator=generator), dim=-1)
        spot = centre + 0.9 * sizes.amax(-1, keepdim=True) * direction
        reach = uniform(generator, -0.3, 0.3, n, 1)  # negative, without a patch, in one of two
        patch = torch.tensor(_FIXED)[torch.randint(len(_FIXED), (n, 1), generator=generator)]
        inside = hit & ((position - spot[:, None]).norm(dim=-1) < reach)
        material = torch.where(inside, patch.to(torch.uint8), material)
    shape = (n, size, size)
    return Geometry(material.view(shape), normal.view(*shape, 3), position.view(*shape, 3))


@torch.no_grad()
def solids(kind: str, n: int, generator: torch.Generator) -> Tensor:
    """Draw plain solids, some with patches, in the world's colours and light, ``[n, 3, 64, 64]``."""
    parts = []
    for start in range(0, n, _CHUNK):
        cameras = sample_cameras(min(_CHUNK, n - start), generator)
        geometry = solid_geometry(kind, cameras, generator)
        colour = _colours(len(cameras), generator).flatten(1)
        parts.append(shade(geometry, colour, sample_lighting(cameras, generator)))
    return torch.cat(parts).permute(0, 3, 1, 2)


def _resized(parts: list[Tensor]) -> Tensor:
    return torch.cat([F.interpolate(part, (RESOLUTION,) * 2, mode="bicubic") for part in parts])


def _field(n: int, channels: int, low: int, high: int, generator: torch.Generator) -> Tensor:
    """Draw smooth normal fields of `low` to `high` grid points a side, ``[n, channels, 64, 64]``."""
    sides = torch.randint(low, high + 1, (n,), generator=generator).tolist()
    return _resized([torch.randn(1, channels, side, side, generator=generator) for side in sides])


def blobs(n: int, generator: torch.Generator) -> Tensor:
    """Draw smooth random densities in one colour or two, some soft and some with an edge."""
    axis = torch.linspace(-1, 1, RESOLUTION)
    shift = uniform(generator, -0.15, 0.15, n, 2)
    x, y = axis[None, None] - shift[:, :1, None], axis[None, :, None] - shift[:, 1:, None]
    radius = uniform(generator, 0.3, 0.75, n, 1, 1)
    bump = (radius - (x * x + y * y).sqrt()) / radius
    density = bump[:, None] + uniform(generator, 0.1, 0.6, n, 1, 1, 1) * _field(n, 1, 3, 7, generator)
    sharpness = torch.exp(uniform(generator, 0.5, 3.5, n, 1, 1, 1))
    alpha = torch.sigmoid(sharpness * density)
    share = torch.sigmoid(4 * _field(n, 1, 2, 6, generator))
    share = torch.where(chosen(0.5, n, generator), share, 1.0)
    one, other = (_colours(n, generator) for _ in range(2))
    light = 0.85 + uniform(generator, 0, 0.25, n, 1, 1, 1) * _field(n, 1, 2, 6, generator)
    colour = (share * one + (1 - share) * other) * light
    return (alpha * colour + (1 - alpha) * _backgrounds(n, generator)).clamp(0, 1)


def noises(n: int, generator: torch.Generator) -> Tensor:
    base = _backgrounds(n, generator)
    base = torch.where(chosen(0.5, n, generator), _colours(n, generator), base)
    fine = torch.randn(n, 3, RESOLUTION, RESOLUTION, generator=generator)
    grain = torch.where(chosen(0.5, n, generator), fine, _field(n, 3, 4, 32, generator))
    grain = torch.where(chosen(0.3, n, generator), grain.mean(1, keepdim=True), grain)
    return (base + uniform(generator, 0.1, 0.6, n, 1, 1, 1) * grain).clamp(0, 1)


def flats(n: int, generator: torch.Generator) -> Tensor:
    one = _backgrounds(n, generator)
    other = torch.where(chosen(0.5, n, generator), _colours(n, generator), one)
    angle = uniform(generator, 0, 2 * torch.pi, n, 1, 1, 1)
    axis = torch.linspace(-1, 1, RESOLUTION)
    slope = 0.5 + 0.35 * (angle.cos() * axis + angle.sin() * axis[:, None])
    share = torch.where(chosen(0.5, n, generator), slope, uniform(generator, 0, 1, n, 1, 1, 1).round())
    return share * one + (1 - share) * other


def blurred(images: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce images ``[n, 3, 64, 64]`` to 5 to 9 pixels a side: nobody could say what they show."""
    sides = torch.randint(5, 10, (len(images),), generator=generator).tolist()
    shrunk = [
        F.interpolate(image[None], (side, side), mode="bilinear", antialias=True)
        for image, side in zip(images, sides, strict=True)
    ]
    return _resized(shrunk).clamp(0, 1)


def mixtures(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Mix two objects in one image: an average, a smooth blend, or half of each.

    Args:
        images: ``[n, 3, 64, 64]``.
        others: As many, of other objects.
        generator: The source of randomness.
    """
    n = len(images)
    even = uniform(generator, 0.35, 0.65, n, 1, 1, 1)
    smooth = 0.5 + 0.25 * torch.tanh(2 * _field(n, 1, 2, 5, generator))
    half = (torch.arange(RESOLUTION) < RESOLUTION // 2).float()
    split = torch.where(chosen(0.5, n, generator), half[:, None], half)
    way = torch.randint(3, (n, 1, 1, 1), generator=generator)
    weight = torch.where(way == 0, even, torch.where(way == 1, smooth, split))
    return weight * images + (1 - weight) * others


# kinds that are made from nothing: n and a generator -> ``[n, 3, 64, 64]`` in [0, 1]
PAINTERS: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    **{kind: partial(solids, kind) for kind in SOLIDS},
    "blob": blobs,
    "noise": noises,
    "flat": flats,
}
# all kinds; the last two are made from true renders
KINDS = (*PAINTERS, "blur", "mixture")


def other_objects(objects: Tensor, pool: Tensor, generator: torch.Generator) -> Tensor:
    """Draw for each of `objects` ``[n]`` an index into `pool` of another object, ``[n]``."""
    differs = (objects[:, None] != pool[None]).float()
    return torch.multinomial(differs, 1, generator=generator).squeeze(-1)


def negatives(kind: str, n: int, images: Images, generator: torch.Generator) -> Tensor:
    """Draw images of one of [`KINDS`][], ``[n, 3, 64, 64]`` in [0, 1].

    Args:
        kind: One of [`KINDS`][].
        n: Number of images.
        images: True renders to make blurs and mixtures from.
        generator: The source of randomness.
    """
    if kind in PAINTERS:
        return PAINTERS[kind](n, generator)
    drawn = images[torch.randint(len(images), (n,), generator=generator)]
    if kind == "blur":
        return blurred(drawn.float, generator)
    other = other_objects(drawn.object, images.object, generator)
    return mixtures(drawn.float, images[other].float, generator)
