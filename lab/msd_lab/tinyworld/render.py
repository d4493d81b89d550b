"""Renders of the tiny world: sphere tracing once per camera, then cheap shading in any colour and light.

Cameras follow threestudio: the camera stands at ``distance * (cos el cos az, cos el sin
az, sin el)``, z is up, it looks at the origin, and azimuth 0 sees the front (+x).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from typing_extensions import Self

from .shapes import MATERIALS, RADIUS, parts_of
from .world import COLOURS, OBJECTS, VIEWS, Caption, parse_prompt, view_name

RESOLUTION = 64
SUPERSAMPLING = 3
_BACKGROUND = 255  # material id of rays that miss


class Rows:
    """Base of dataclasses whose fields are tensors with a row an item; they are indexed and joined as one."""

    def __len__(self) -> int:
        return len(next(iter(vars(self).values())))

    def __getitem__(self, index: slice | Tensor) -> Self:
        return type(self)(*(values[index] for values in vars(self).values()))

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        return cls(*(torch.cat(values) for values in zip(*(vars(p).values() for p in parts), strict=True)))


@dataclass(frozen=True)
class Cameras(Rows):
    """A batch of cameras: all fields ``[n]``, angles in degrees, distance in world units, `fovy` vertical."""

    elevation: Tensor
    azimuth: Tensor
    distance: Tensor
    fovy: Tensor

    @property
    def position(self) -> Tensor:
        el, az = torch.deg2rad(self.elevation), torch.deg2rad(self.azimuth)
        direction = torch.stack((el.cos() * az.cos(), el.cos() * az.sin(), el.sin()), -1)
        return self.distance[:, None] * direction

    @property
    def views(self) -> list[str]:
        return [
            view_name(*angles) for angles in zip(self.elevation.tolist(), self.azimuth.tolist(), strict=True)
        ]

    def rays(self, size: int) -> Tensor:
        """Unit ray directions ``[n, size, size, 3]``, the first row at the top."""
        forward = -F.normalize(self.position, dim=-1)
        above = forward.new_tensor([[0.0, 0, 1]]).expand_as(forward)
        right = F.normalize(torch.linalg.cross(forward, above), dim=-1)
        up = torch.linalg.cross(right, forward)
        grid = (torch.arange(size) + 0.5) / size * 2 - 1
        v, u = torch.meshgrid(-grid, grid, indexing="ij")
        half = torch.tan(torch.deg2rad(self.fovy) / 2)[:, None, None]
        offset = (half * u)[..., None] * right[:, None, None] + (half * v)[..., None] * up[:, None, None]
        return F.normalize(forward[:, None, None] + offset, dim=-1)


def sample_cameras(n: int, generator: torch.Generator, view: str | None = None) -> Cameras:
    """Draw cameras as threestudio does: elevation -10..70, azimuth all round, distance 1.5..2, fovy 40..70.

    Args:
        n: How many.
        generator: The source of randomness.
        view: Draw only cameras of this view (see
            [`view_name`][msd_lab.tinyworld.world.view_name]).

    Raises:
        ValueError: No camera has such a view.
    """
    draws = torch.rand(n if view is None else 32 * n + 64, 4, generator=generator)
    low, high = torch.tensor([-10.0, -180, 1.5, 40]), torch.tensor([70.0, 180, 2.0, 70])
    cameras = Cameras(*(low + (high - low) * draws).unbind(-1))
    if view is None:
        return cameras
    matching = torch.tensor([i for i, name in enumerate(cameras.views) if name == view][:n])
    if len(matching) < n:
        raise ValueError(f"no view {view!r}: only {len(matching)} of {n} cameras found")
    return cameras[matching]


def balanced_cameras(n: int, generator: torch.Generator) -> Cameras:
    """Draw cameras as [`sample_cameras`][] does, of all views about equally often, in random order."""
    order = torch.randperm(n, generator=generator)
    first = int(torch.randint(len(VIEWS), (1,), generator=generator))
    turns = [VIEWS[(first + i) % len(VIEWS)] for i in range(n)]
    views = dict.fromkeys(turns)
    return Cameras.joined(sample_cameras(turns.count(view), generator, view) for view in views)[order]


@dataclass(frozen=True)
class Geometry(Rows):
    """First hits of rays: `material` uint8 ``[n, s, s]``, 255 for a miss; the others ``[n, s, s, 3]``."""

    material: Tensor
    normal: Tensor
    position: Tensor


def _distance(name: str, points: Tensor) -> Tensor:
    return torch.stack([distance for distance, _ in parts_of(name, points)]).amin(0)


def _material(name: str, points: Tensor) -> Tensor:
    distances, materials = zip(*parts_of(name, points), strict=True)
    ids = torch.tensor([list(MATERIALS).index(material) for material in materials], dtype=torch.uint8)
    return ids[torch.stack(distances).argmin(0)]


def _normal(name: str, points: Tensor, step: float = 1e-3) -> Tensor:
    """Take the distance's gradient from four evaluations at a tetrahedron's corners (Quilez)."""
    corners = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    return F.normalize(sum(k * _distance(name, points + step * k)[:, None] for k in corners), dim=-1)


@torch.no_grad()
def trace(name: str, cameras: Cameras, size: int = RESOLUTION * SUPERSAMPLING, steps: int = 72) -> Geometry:
    """Sphere-trace an object: only rays through its bounding ball, until each hits or leaves it.

    Args:
        name: One of [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS].
        cameras: ``n`` cameras.
        size: Pixels along a side.
        steps: The most steps a ray may take.

    Returns:
        The geometry of ``n`` images; its normals and positions are 0 where a ray
        misses.
    """
    directions = cameras.rays(size).reshape(-1, 3)
    origins = cameras.position.repeat_interleave(size * size, 0)
    along = -(origins * directions).sum(-1)
    gap = (origins**2).sum(-1) - along**2
    active = torch.nonzero(gap < RADIUS**2).squeeze(-1)
    reach = (RADIUS**2 - gap[active]).sqrt()
    depth, far = along[active] - reach, along[active] + reach
    start, direction = origins[active], directions[active]
    hits = []
    for _ in range(steps):
        distance = _distance(name, start + depth[:, None] * direction)
        hit = distance < 1e-3
        hits.append((active[hit], depth[hit]))
        depth = depth + 0.9 * distance  # some distances are first-order, so step short
        keep = torch.nonzero(~hit & (depth < far)).squeeze(-1)
        if not len(keep):
            break
        rays = (active, depth, far, start, direction)
        active, depth, far, start, direction = (values[keep] for values in rays)
    ray, depth = (torch.cat(values) for values in zip(*hits, strict=True))
    points = origins[ray] + depth[:, None] * directions[ray]
    shape = (len(cameras), size, size)
    geometry = Geometry(
        torch.full(shape, _BACKGROUND, dtype=torch.uint8), torch.zeros(*shape, 3), torch.zeros(*shape, 3)
    )
    geometry.material.view(-1)[ray] = _material(name, points)
    geometry.normal.view(-1, 3)[ray] = _normal(name, points)
    geometry.position.view(-1, 3)[ray] = points
    return geometry


@dataclass(frozen=True)
class Lighting:
    """A point light at `position` ``[n, 3]``, its levels ``[n]``, and the `background` ``[n, 3]``."""

    position: Tensor
    ambient: Tensor
    diffuse: Tensor
    background: Tensor


def sample_lighting(cameras: Cameras, generator: torch.Generator) -> Lighting:
    """Draw a point light near and above each camera, ambient light, and a background with a faint tint."""
    n = len(cameras)
    offset = torch.randn(n, 3, generator=generator) + torch.tensor([0.0, 0, 0.8])
    draws = torch.rand(n, 3, generator=generator)
    tint = 0.03 * (2 * torch.rand(n, 3, generator=generator) - 1)
    return Lighting(
        position=cameras.position + 0.7 * offset,
        ambient=0.60 + 0.12 * draws[:, 0],
        diffuse=0.38 + 0.12 * draws[:, 1],
        background=(0.82 + 0.14 * draws[:, 2:] + tint).clamp(0, 1),
    )


@torch.no_grad()
def shade(
    geometry: Geometry, colour: Tensor, lighting: Lighting, supersampling: int = SUPERSAMPLING
) -> Tensor:
    """Shade Lambertian surfaces, then average over `supersampling` x `supersampling` pixels.

    Args:
        geometry: First hits of ``n`` images, ``s * supersampling`` pixels a side.
        colour: The objects' albedos, ``[n, 3]`` in [0, 1].
        lighting: The light of ``n`` images.
        supersampling: Geometry pixels per image pixel along a side.

    Returns:
        Images ``[n, s, s, 3]`` in [0, 1].
    """
    own = torch.tensor([m if isinstance(m, float) else 0.0 for m in MATERIALS.values()])
    fixed = torch.tensor([(0.0, 0.0, 0.0) if isinstance(m, float) else m for m in MATERIALS.values()])
    palette = own[None, :, None] * colour[:, None] + fixed[None]  # [n, materials, 3]
    n, size = geometry.material.shape[:2]
    hit = geometry.material != _BACKGROUND
    index = torch.where(hit, geometry.material, 0).long().view(n, -1, 1).expand(-1, -1, 3)
    albedo = palette.gather(1, index).view(n, size, size, 3)
    to_light = F.normalize(lighting.position[:, None, None] - geometry.position, dim=-1)
    lambert = (geometry.normal * to_light).sum(-1).clamp_min(0)
    light = lighting.ambient[:, None, None] + lighting.diffuse[:, None, None] * lambert
    pixels = torch.where(hit[..., None], albedo * light[..., None], lighting.background[:, None, None])
    return F.avg_pool2d(pixels.clamp(0, 1).permute(0, 3, 1, 2), supersampling).permute(0, 2, 3, 1)


def render(name: str, colour: str, cameras: Cameras, seed: int = 0, resolution: int = RESOLUTION) -> Tensor:
    """Render an object in a colour, each image in other light.

    Args:
        name: One of [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS].
        colour: One of [`COLOURS`][msd_lab.tinyworld.world.COLOURS].
        cameras: ``n`` cameras.
        seed: Draws the light and the background.
        resolution: Pixels along a side.

    Returns:
        Images ``[n, resolution, resolution, 3]`` in [0, 1].

    Raises:
        ValueError: The world holds no such object or colour.
    """
    if name not in OBJECTS or colour not in COLOURS:
        raise ValueError(f"no {colour!r} {name!r}: objects are {OBJECTS}, colours are {tuple(COLOURS)}")
    lighting = sample_lighting(cameras, torch.Generator().manual_seed(seed))
    geometry = trace(name, cameras, resolution * SUPERSAMPLING)
    return shade(geometry, torch.tensor(COLOURS[colour]).expand(len(cameras), 3), lighting)


def true_renders(prompt: str | tuple[str, str] | Caption, n: int, seed: int = 0) -> Tensor:
    """Render what a prompt describes: the truth that generated images are measured against.

    Args:
        prompt: A prompt, an (object, colour) pair, or a caption. A view in it restricts
            the cameras; without one, all views come equally often.
        n: How many images.
        seed: Draws the cameras, the light and the background.

    Returns:
        Images ``[n, 64, 64, 3]`` in [0, 1].

    Raises:
        ValueError: The world does not hold what the prompt names.

    Example:
        >>> true_renders("a red mug, front view", n=2, seed=0).shape
        torch.Size([2, 64, 64, 3])
    """
    if isinstance(prompt, str):
        prompt = parse_prompt(prompt)
    caption = prompt if isinstance(prompt, Caption) else Caption(*prompt)
    generator = torch.Generator().manual_seed(seed)
    cameras = sample_cameras(n, generator, caption.view) if caption.view else balanced_cameras(n, generator)
    light_seed = int(torch.randint(2**31, (1,), generator=generator))
    return render(caption.object, caption.colour, cameras, light_seed)
