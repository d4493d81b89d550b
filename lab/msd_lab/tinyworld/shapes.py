"""The objects of the tiny world as signed distance fields.

Every shape lies within a ball of radius [`RADIUS`][] about the origin, stands along +z
and faces +x. It maps points ``p`` ``[N, 3]``, and ``m``, the same with the left half
folded onto the right (so that one part stands for two), to a list of parts ``(distance
[N], material)``. Primitives follow Quilez's catalogue of distance functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, reduce

import torch
from torch import Tensor

RADIUS = 0.65

# material name -> albedo in [0, 1], or the fraction of the object's colour
MATERIALS: dict[str, tuple[float, float, float] | float] = {
    "body": 1.0,  # a number: that fraction of the object's own colour
    "shade": 0.72,
    "dark": (0.16, 0.16, 0.18),
    "white": (0.97, 0.97, 0.95),
    "glass": (0.66, 0.84, 0.95),
    "wood": (0.45, 0.30, 0.18),
    "steel": (0.62, 0.63, 0.66),
    "amber": (0.96, 0.60, 0.12),
    "lamp": (0.90, 0.10, 0.12),
    "glow": (1.00, 0.95, 0.66),
}

Part = tuple[Tensor, str]
Point = tuple[float, float, float]


def _length(*axes: Tensor) -> Tensor:
    return sum(a * a for a in axes).clamp_min(1e-12).sqrt()


@cache
def _vector(values: Point) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def ball(p: Tensor, centre: Point, radius: float) -> Tensor:
    return (p - _vector(centre)).norm(dim=-1) - radius


def ellipsoid(p: Tensor, centre: Point, radii: Point) -> Tensor:
    """Approximate (first-order) distance to an ellipsoid."""
    q, r = p - _vector(centre), _vector(radii)
    k0, k1 = (q / r).norm(dim=-1), (q / r**2).norm(dim=-1)
    return k0 * (k0 - 1) / k1.clamp_min(1e-6)


def box(p: Tensor, centre: Point, half: Point, rounding: float = 0.0) -> Tensor:
    """Distance to a box of half sizes `half`, its edges rounded by `rounding` (inside the half sizes)."""
    q = (p - _vector(centre)).abs() - (_vector(half) - rounding)
    return q.clamp_min(0).norm(dim=-1) + q.amax(-1).clamp_max(0) - rounding


def capsule(
    p: Tensor,
    a: Point,
    b: Point,
    ra: float,
    rb: float | None = None,
) -> Tensor:
    """Distance to a capsule from `a` to `b`; with `rb`, one that tapers (first-order distance)."""
    start, axis = _vector(a), _vector(b) - _vector(a)
    q = p - start
    t = ((q @ axis) / axis.dot(axis)).clamp(0, 1)
    radius = ra if rb is None else ra + (rb - ra) * t
    return (q - t[:, None] * axis).norm(dim=-1) - radius


def cylinder(
    p: Tensor,
    centre: Point,
    axis: int,
    radius: float,
    half: float,
    top: float | None = None,
) -> Tensor:
    """Distance to a cylinder along `axis` (0, 1, 2); with `top`, a cone that ends in that radius (first
    order).
    """
    q = p - _vector(centre)
    along = q[:, axis]
    u, v = (q[:, i] for i in range(3) if i != axis)
    if top is None:
        side = _length(u, v) - radius
    else:
        slope = (top - radius) / (2 * half)
        wall = radius + slope * (along.clamp(-half, half) + half)
        side = (_length(u, v) - wall) / (1 + slope**2) ** 0.5
    cap = along.abs() - half
    outside = _length(side.clamp_min(0), cap.clamp_min(0))
    return outside + torch.maximum(side, cap).clamp_max(0)


def ring(p: Tensor, centre: Point, axis: int, radius: float, thickness: float) -> Tensor:
    q = p - _vector(centre)
    u, v = (q[:, i] for i in range(3) if i != axis)
    return _length(_length(u, v) - radius, q[:, axis]) - thickness


def union(*distances: Tensor) -> Tensor:
    return reduce(torch.minimum, distances)


def common(*distances: Tensor) -> Tensor:
    """Intersect shapes; a negated distance cuts its shape away."""
    return reduce(torch.maximum, distances)


SHAPES: dict[str, Callable[[Tensor, Tensor], list[Part]]] = {
    # a jet: windscreen and white nose in front, an amber tail fin behind
    "airplane": lambda p, m: [
        (capsule(p, (0.36, 0, 0), (-0.42, 0, 0.05), 0.125, 0.06), "body"),
        (ball(p, (0.43, 0, -0.005), 0.115), "white"),
        (ellipsoid(p, (0.28, 0, 0.09), (0.12, 0.10, 0.08)), "dark"),
        (capsule(m, (0.10, 0.08, -0.02), (-0.12, 0.50, 0.03), 0.06, 0.035), "body"),
        (capsule(m, (-0.02, 0.08, -0.02), (-0.14, 0.50, 0.03), 0.06, 0.035), "body"),
        (capsule(m, (0.12, 0.24, -0.07), (-0.05, 0.24, -0.07), 0.065), "steel"),
        (capsule(m, (-0.42, 0.02, 0.06), (-0.47, 0.20, 0.08), 0.045, 0.025), "shade"),
        (capsule(p, (-0.38, 0, 0.06), (-0.49, 0, 0.27), 0.06, 0.045), "amber"),
    ],
    # a sailing boat: hull, deck, cabin with windows in front of the mast, one sail with a sloping edge
    "boat": lambda p, m: [
        (common(ellipsoid(p, (0.0, 0, -0.12), (0.54, 0.25, 0.30)), p[:, 2] + 0.16), "body"),
        (
            common(ellipsoid(p, (0.0, 0, -0.12), (0.54, 0.25, 0.30)) + 0.03, (p[:, 2] + 0.155).abs() - 0.015),
            "shade",
        ),
        (box(p, (0.20, 0, -0.08), (0.14, 0.15, 0.13), 0.03), "white"),
        (box(m, (0.335, 0.065, -0.04), (0.015, 0.045, 0.055)), "dark"),
        (box(m, (0.20, 0.148, -0.04), (0.09, 0.012, 0.05)), "dark"),
        (cylinder(p, (0.0, 0, 0.18), 2, 0.03, 0.37), "wood"),
        (
            common(
                box(p, (-0.21, 0, 0.18), (0.19, 0.018, 0.30)),
                (p[:, 2] - 0.52) * 0.62 + (-p[:, 0] - 0.0) * 0.78,
                -0.06 - p[:, 2],
            ),
            "body",
        ),
    ],
    # a car: bonnet and headlights in front, tail lamps and the cabin behind, dark wheels
    "car": lambda p, m: [
        (box(p, (0.0, 0, -0.06), (0.50, 0.25, 0.12), 0.06), "body"),
        (box(p, (-0.08, 0, 0.10), (0.26, 0.20, 0.13), 0.08), "body"),
        (box(p, (0.155, 0, 0.105), (0.04, 0.17, 0.08), 0.02), "glass"),
        (box(p, (-0.325, 0, 0.105), (0.03, 0.15, 0.07), 0.02), "glass"),
        (box(m, (-0.07, 0.195, 0.11), (0.19, 0.02, 0.075), 0.01), "glass"),
        (union(*(cylinder(m, (x, 0.22, -0.16), 1, 0.11, 0.05) for x in (0.28, -0.28))), "dark"),
        (ball(m, (0.465, 0.16, -0.03), 0.085), "glow"),
        (box(p, (0.49, 0, -0.09), (0.02, 0.09, 0.05)), "dark"),
        (box(m, (-0.49, 0.17, -0.03), (0.025, 0.06, 0.05)), "lamp"),
    ],
    # a sitting cat: white muzzle and chest, ears, eyes, a tail with a white tip that curls behind
    "cat": lambda p, m: [
        (ellipsoid(p, (-0.08, 0, -0.22), (0.25, 0.20, 0.28)), "body"),
        (ball(p, (0.08, 0, 0.18), 0.20), "body"),
        (cylinder(m, (0.06, 0.125, 0.40), 2, 0.085, 0.09, 0.01), "body"),
        (ball(m, (0.225, 0.09, 0.235), 0.058), "dark"),
        (ellipsoid(p, (0.245, 0, 0.11), (0.07, 0.10, 0.065)), "white"),
        (ball(p, (0.31, 0, 0.14), 0.032), "dark"),
        (ellipsoid(p, (0.11, 0, -0.14), (0.10, 0.125, 0.17)), "white"),
        (capsule(m, (0.12, 0.10, -0.20), (0.15, 0.10, -0.46), 0.06), "body"),
        (capsule(p, (-0.28, 0, -0.42), (-0.44, 0, -0.22), 0.05), "body"),
        (capsule(p, (-0.44, 0, -0.22), (-0.40, 0, 0.02), 0.055, 0.05), "white"),
    ],
    # a chair: open in front, its back rest behind
    "chair": lambda p, m: [
        (box(p, (0.0, 0, -0.05), (0.28, 0.27, 0.055), 0.03), "body"),
        (box(p, (-0.24, 0, 0.24), (0.045, 0.27, 0.28), 0.03), "body"),
        (box(p, (0.02, 0, 0.01), (0.22, 0.21, 0.03), 0.02), "white"),
        (
            union(
                capsule(m, (0.22, 0.21, -0.06), (0.25, 0.24, -0.46), 0.045),
                capsule(m, (-0.22, 0.21, -0.06), (-0.25, 0.24, -0.46), 0.045),
            ),
            "wood",
        ),
    ],
    # a bath duck: amber beak and eyes in front, a pointed tail behind
    "duck": lambda p, m: [
        (ellipsoid(p, (-0.06, 0, -0.20), (0.40, 0.28, 0.24)), "body"),
        (ball(p, (0.18, 0, 0.18), 0.21), "body"),
        (ellipsoid(p, (0.42, 0, 0.13), (0.14, 0.13, 0.06)), "amber"),
        (ball(m, (0.315, 0.11, 0.26), 0.06), "dark"),
        (capsule(p, (-0.36, 0, -0.12), (-0.50, 0, 0.06), 0.10, 0.02), "body"),
        (ellipsoid(m, (-0.10, 0.26, -0.16), (0.22, 0.06, 0.12)), "shade"),
    ],
    # a fish: big eyes and a white mouth in front, tail fin behind
    "fish": lambda p, m: [
        (ellipsoid(p, (0.08, 0, 0.0), (0.40, 0.17, 0.26)), "body"),
        (
            common(
                box(p, (-0.43, 0, 0.0), (0.12, 0.025, 0.26), 0.02),
                (p[:, 2].abs() + p[:, 0] + 0.27) * 0.75,
                -(p[:, 2].abs() * 0.6 + p[:, 0] + 0.62) * 0.85,
            ),
            "shade",
        ),
        (capsule(p, (0.10, 0, 0.22), (-0.12, 0, 0.34), 0.05, 0.03), "shade"),
        (capsule(p, (0.06, 0, -0.22), (-0.08, 0, -0.33), 0.05, 0.03), "shade"),
        (ball(m, (0.31, 0.10, 0.08), 0.085), "white"),
        (ball(m, (0.345, 0.14, 0.085), 0.06), "dark"),
        (ellipsoid(p, (0.45, 0, -0.07), (0.06, 0.09, 0.055)), "white"),
        (capsule(m, (0.05, 0.15, -0.06), (-0.10, 0.25, -0.12), 0.045, 0.03), "shade"),
    ],
    # a house: roof, white eaves, chimney; door and two windows in front, round ones beside, a wide one behind
    "house": lambda p, m: [
        (box(p, (0.0, 0, -0.16), (0.32, 0.34, 0.28)), "body"),
        (_roof(p), "shade"),
        (common(_roof(p) - 0.012, p[:, 2] - 0.15), "white"),
        (box(p, (0.32, 0, -0.24), (0.025, 0.11, 0.20)), "wood"),
        (box(m, (0.32, 0.23, -0.12), (0.025, 0.085, 0.11)), "white"),
        (cylinder(m, (0.0, 0.34, -0.14), 1, 0.11, 0.02), "white"),
        (box(p, (-0.32, 0, -0.14), (0.025, 0.17, 0.11)), "glass"),
        (box(p, (-0.16, 0.20, 0.40), (0.07, 0.07, 0.12)), "steel"),
    ],
    # a mug: hollow, with a bottom; the handle on its left; a white disc on its front
    "mug": lambda p, m: [
        (
            common(
                cylinder(p, (0.0, -0.06, 0), 2, 0.31, 0.36), -cylinder(p, (0.0, -0.06, 0.12), 2, 0.26, 0.32)
            ),
            "body",
        ),
        (cylinder(p, (0.0, -0.06, -0.18), 2, 0.26, 0.02), "white"),
        (common(ring(p, (0.0, 0.27, 0.0), 0, 0.18, 0.06), 0.20 - p[:, 1]), "body"),
        (
            common(
                (_length(p[:, 0], p[:, 1] + 0.06) - 0.315).abs() - 0.01,
                _length(p[:, 1] + 0.06, p[:, 2] + 0.02) - 0.20,
                -p[:, 0],
            ),
            "white",
        ),
    ],
    # a robot: lit eyes and a chest panel in front, a dark pack on its back, an aerial on its head
    "robot": lambda p, m: [
        (box(p, (0.0, 0, 0.25), (0.15, 0.19, 0.14), 0.03), "body"),
        (box(p, (0.0, 0, -0.08), (0.16, 0.22, 0.19), 0.03), "body"),
        (ball(m, (0.14, 0.09, 0.28), 0.075), "glow"),
        (box(p, (0.15, 0, 0.16), (0.02, 0.12, 0.03)), "dark"),
        (box(p, (0.16, 0, -0.06), (0.02, 0.15, 0.11)), "white"),
        (box(p, (-0.20, 0, -0.04), (0.07, 0.15, 0.14), 0.03), "dark"),
        (capsule(m, (0.0, 0.28, 0.04), (0.10, 0.31, -0.22), 0.065), "steel"),
        (box(m, (0.0, 0.11, -0.39), (0.09, 0.07, 0.15), 0.03), "shade"),
        (capsule(p, (0, 0, 0.36), (0, 0, 0.48), 0.03), "steel"),
        (ball(p, (0, 0, 0.51), 0.07), "amber"),
    ],
    # a rocket: a porthole in front, a darker nose, a fin on each side and an amber one behind
    "rocket": lambda p, m: [
        (cylinder(p, (0, 0, -0.06), 2, 0.15, 0.31, 0.19), "body"),
        (
            common((_length(p[:, 0], p[:, 1]) + (p[:, 2] - 0.56) * 0.62) * 0.85, 0.24 - p[:, 2]),
            "shade",
        ),
        (cylinder(p, (0.15, 0, 0.08), 0, 0.13, 0.05), "white"),
        (cylinder(p, (0.16, 0, 0.08), 0, 0.09, 0.05), "dark"),
        (capsule(m, (0.08, 0.15, -0.28), (0.12, 0.30, -0.46), 0.06, 0.035), "shade"),
        (capsule(p, (-0.16, 0, -0.28), (-0.33, 0, -0.46), 0.06, 0.035), "amber"),
        (cylinder(p, (0, 0, -0.41), 2, 0.11, 0.05), "steel"),
    ],
    # a teapot: the spout in front, a wooden handle behind, a lid with a white knob
    "teapot": lambda p, m: [
        (ellipsoid(p, (0, 0, -0.08), (0.31, 0.31, 0.27)), "body"),
        (capsule(p, (0.24, 0, -0.14), (0.45, 0, 0.14), 0.10, 0.06), "body"),
        (ball(p, (0.475, 0, 0.17), 0.065), "dark"),
        (ellipsoid(p, (0, 0, 0.13), (0.20, 0.20, 0.09)), "shade"),
        (ball(p, (0, 0, 0.26), 0.08), "white"),
        (common(ring(p, (-0.28, 0, -0.02), 1, 0.18, 0.06), p[:, 0] + 0.22), "wood"),
    ],
}


def _roof(p: Tensor) -> Tensor:
    slope = p[:, 0].abs() * 0.66 + (p[:, 2] - 0.46) * 0.75
    return common(slope, 0.09 - p[:, 2], p[:, 1].abs() - 0.39)


def parts_of(name: str, points: Tensor) -> list[Part]:
    """Evaluate an object's parts ``(distance [N], material)`` at points ``[N, 3]``."""
    return SHAPES[name](points, torch.stack((points[:, 0], points[:, 1].abs(), points[:, 2]), -1))
