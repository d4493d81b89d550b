"""Renders of the tiny world: sphere tracing once per camera, then cheap shading in any colour and light.

Cameras follow threestudio: the camera stands at ``distance * (cos el cos az, cos el sin az, sin el)``, z is
up, it looks at the origin, and azimuth 0 sees the front (+x).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from .shapes import MATERIALS, RADIUS, SHAPES
from .world import COLOURS, OBJECTS, VIEWS, Caption, parse_prompt, view_name

RESOLUTION = 64
SUPERSAMPLING = 3
_MATERIAL_NAMES = tuple(MATERIALS)
_BACKGROUND = 255  # material id of rays that miss


@dataclass(frozen=True)
class Cameras:
    """A batch of cameras; all ``[n]``: angles in degrees, distance in world units, `fovy` the vertical field
    of view.
    """

    elevation: Tensor
    azimuth: Tensor
    distance: Tensor
    fovy: Tensor

    def __len__(self) -> int:
        return len(self.elevation)

    def __getitem__(self, index: slice | Tensor) -> Cameras:
        return Cameras(self.elevation[index], self.azimuth[index], self.distance[index], self.fovy[index])

    @property
    def position(self) -> Tensor:
        """Where each camera stands, ``[n, 3]``."""
        el, az = torch.deg2rad(self.elevation), torch.deg2rad(self.azimuth)
        direction = torch.stack((el.cos() * az.cos(), el.cos() * az.sin(), el.sin()), -1)
        return self.distance[:, None] * direction

    @property
    def views(self) -> list[str]:
        """The view's name for each camera."""
        return [
            view_name(*angles) for angles in zip(self.elevation.tolist(), self.azimuth.tolist(), strict=True)
        ]

    def rays(self, size: int) -> Tensor:
        """Unit ray directions ``[n, size, size, 3]``, the first row at the top."""
        forward = -F.normalize(self.position, dim=-1)
        right = F.normalize(
            torch.linalg.cross(forward, forward.new_tensor([[0.0, 0, 1]]).expand_as(forward)), dim=-1
        )
        up = torch.linalg.cross(right, forward)
        grid = (torch.arange(size) + 0.5) / size * 2 - 1
        v, u = torch.meshgrid(-grid, grid, indexing="ij")
        half = torch.tan(torch.deg2rad(self.fovy) / 2)[:, None, None]
        offset = (half * u)[..., None] * right[:, None, None] + (half * v)[..., None] * up[:, None, None]
        return F.normalize(forward[:, None, None] + offset, dim=-1)


def sample_cameras(n: int, generator: torch.Generator, view: str | None = None) -> Cameras:
    """Cameras as threestudio draws them: elevation -10..70, azimuth all round, distance 1.5..2, fovy 40..70.

    Args:
        n: How many.
        generator: The randomness.
        view: Only cameras of this view (see [`view_name`][msd_lab.tinyworld.world.view_name]); any if
            ``None``.
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
    """Cameras as [`sample_cameras`][] draws them, of all views about equally often, in random order."""
    order = torch.randperm(n, generator=generator)
    first = int(torch.randint(len(VIEWS), (1,), generator=generator))
    turns = [VIEWS[(first + i) % len(VIEWS)] for i in range(n)]
    drawn = [sample_cameras(turns.count(view), generator, view) for view in dict.fromkeys(turns)]
    parts = (torch.cat([getattr(d, f.name) for d in drawn])[order] for f in fields(Cameras))
    return Cameras(*parts)


@dataclass(frozen=True)
class Geometry:
    """What the rays hit: `material` uint8 ``[n, s, s]`` (255 for nothing), `normal` and `position` ``[n, s,
    s, 3]``.
    """

    material: Tensor
    normal: Tensor
    position: Tensor

    def __getitem__(self, index: slice | Tensor) -> Geometry:
        return Geometry(self.material[index], self.normal[index], self.position[index])


def _distance(name: str, points: Tensor) -> Tensor:
    return torch.stack([d for d, _ in SHAPES[name](points)]).amin(0)


def _material(name: str, points: Tensor) -> Tensor:
    distances, names = zip(*SHAPES[name](points), strict=True)
    ids = torch.tensor([_MATERIAL_NAMES.index(m) for m in names], dtype=torch.uint8)
    return ids[torch.stack(distances).argmin(0)]


def _normal(name: str, points: Tensor, step: float = 1e-3) -> Tensor:
    """Gradient of the distance by four evaluations at a tetrahedron's corners (Quilez)."""
    corners = torch.tensor([[1.0, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    return F.normalize(sum(k * _distance(name, points + step * k)[:, None] for k in corners), dim=-1)


@torch.no_grad()
def trace(name: str, cameras: Cameras, size: int = RESOLUTION * SUPERSAMPLING, steps: int = 72) -> Geometry:
    """Sphere-traces an object: only rays through its bounding ball, and only those that have not ended.

    Args:
        name: One of [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS].
        cameras: ``n`` cameras.
        size: Pixels along a side.
        steps: The most steps a ray may take.
    """
    directions = cameras.rays(size).reshape(-1, 3)
    origins = cameras.position.repeat_interleave(size * size, 0)
    along = -(origins * directions).sum(-1)
    gap = (origins**2).sum(-1) - along**2
    active = torch.nonzero(gap < RADIUS**2).squeeze(-1)
    reach = (RADIUS**2 - gap[active]).sqrt()
    depth, far = along[active] - reach, along[active] + reach
    hits, hit_depths = [], []
    for _ in range(steps):
        distance = _distance(name, origins[active] + depth[:, None] * directions[active])
        hit = distance < 1e-3
        hits.append(active[hit])
        hit_depths.append(depth[hit])
        depth = depth + 0.9 * distance  # some distances are first-order, so step short
        keep = ~hit & (depth < far)
        active, depth, far = active[keep], depth[keep], far[keep]
        if not len(active):
            break
    ray, depth = torch.cat(hits), torch.cat(hit_depths)
    points = origins[ray] + depth[:, None] * directions[ray]
    n = len(cameras)
    material = torch.full((n * size * size,), _BACKGROUND, dtype=torch.uint8)
    normal, position = torch.zeros(n * size * size, 3), torch.zeros(n * size * size, 3)
    material[ray], normal[ray], position[ray] = _material(name, points), _normal(name, points), points
    shape = (n, size, size)
    return Geometry(material.view(shape), normal.view(*shape, 3), position.view(*shape, 3))


@dataclass(frozen=True)
class Lighting:
    """A point light at `position` ``[n, 3]``, levels `ambient` and `diffuse` ``[n]``, and the `background`
    ``[n, 3]``.
    """

    position: Tensor
    ambient: Tensor
    diffuse: Tensor
    background: Tensor


def sample_lighting(cameras: Cameras, generator: torch.Generator) -> Lighting:
    """A point light near and above the camera, ambient light, and a plain background with a faint tint."""
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
    """Lambertian shading, then an average over `supersampling` x `supersampling` pixels.

    Args:
        geometry: Of ``n`` images.
        colour: The object's albedo, ``[n, 3]`` in [0, 1].
        lighting: Of ``n`` images.
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
    """Renders an object in a colour, each image in a light of its own.

    Args:
        name: One of [`OBJECTS`][msd_lab.tinyworld.world.OBJECTS].
        colour: One of [`COLOURS`][msd_lab.tinyworld.world.COLOURS].
        cameras: ``n`` cameras.
        seed: Of the light and the background.
        resolution: Pixels along a side.

    Returns:
        Images ``[n, resolution, resolution, 3]`` in [0, 1].

    Raises:
        ValueError: If the world holds no such object or colour.
    """
    if name not in OBJECTS or colour not in COLOURS:
        raise ValueError(f"no {colour!r} {name!r}: objects are {OBJECTS}, colours are {tuple(COLOURS)}")
    lighting = sample_lighting(cameras, torch.Generator().manual_seed(seed))
    geometry = trace(name, cameras, resolution * SUPERSAMPLING)
    return shade(geometry, torch.tensor(COLOURS[colour]).expand(len(cameras), 3), lighting)


def true_renders(prompt: str | tuple[str, str] | Caption, n: int, seed: int = 0) -> Tensor:
    """Renders that a prompt describes: the truth that generated images are measured against.

    Args:
        prompt: A prompt, an (object, colour) pair, or a caption. A view in it restricts the cameras; without
            one, all views come equally often.
        n: How many images.
        seed: Of the cameras, the light and the background.

    Returns:
        Images ``[n, 64, 64, 3]`` in [0, 1].

    Raises:
        ValueError: If the world does not hold what the prompt names.

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
