"""Quality of a 3D scene as numbers: against the tiny world's truth, by its judge, and
in itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor

from ..tinyworld.judge import Judge
from ..tinyworld.render import RESOLUTION, Cameras, render
from ..tinyworld.world import Caption, parse_prompt, turn_between
from .instruments import load_lpips, lpips_file
from .metrics import frechet_distance
from .views import GREY, SIZE, evaluation_cameras, project, scaled, true_views, turned

YAWS = 24  # turns of the truth that are tried
SCALES = tuple(0.7 * (1 / 0.7**2) ** (i / 14) for i in range(15))  # sizes of the truth that are tried
DENSE = 4.0  # density from which on space is inside, as of an exported mesh
LATTICE = 64
LIGHT_SEED = 11
ENDINGS = ("", "_second")  # of the judges' figures
FAR_OFF = 45.0  # degrees by which a reading of the azimuth is wrong


@dataclass(frozen=True)
class Views:
    """A scene seen by n cameras: colours `[n, H, W, 3]`, opacity and depth along the
    rays `[n, H, W]`.
    """

    colour: Tensor
    opacity: Tensor
    depth: Tensor

    @property
    def silhouette(self) -> Tensor:
        """Which pixels it covers, `[n, H, W]`."""
        return self.opacity > 0.5


class Scene(Protocol):
    """What can be measured."""

    def views(self, cameras: Cameras, size: int, background: Tensor) -> Views:
        """Render it for these cameras, on a plain background `[3]`."""

    def density(self, points: int) -> Tensor:
        """Its density on a lattice over its box, `[points] * 3`."""


def scene_figures(scene: Scene, prompt: str, judges: Sequence[Judge]) -> dict[str, float]:
    """All figures of a scene, by name.

    Those of the scene in itself always; those against truth and by the judges where the
    prompt is of the tiny world. The second judge's end in `_second`.
    """
    cameras, background = evaluation_cameras(), torch.full((3,), GREY)
    views = scene.views(cameras, SIZE, background)
    found = {
        "opacity": float(views.opacity.mean()),
        "depth_agreement": depth_agreement(cameras, views),
        "floaters": floaters(scene.density(LATTICE)),
    }
    try:
        caption = parse_prompt(prompt)
    except ValueError:
        return found
    truth = against_truth(caption, cameras, views)
    for judge, ending in zip(judges, ENDINGS, strict=False):
        read = judged(caption, cameras, views, judge)
        truth |= {f"{name}{ending}": value for name, value in read.items()}
    return truth | found


def against_truth(caption: Caption, cameras: Cameras, views: Views) -> dict[str, float]:
    """Silhouette and colour against the true object, turned to where it fits best, and
    scaled too: no caption says how large it is, so its size is luck.

    Returns:
        The figures of `agreement` at the best turn, and ending in `_scaled` at the best
        turn and size; `yaw_error`: by how many degrees it is turned; `scale`, how much
        larger the scene is than the truth.
    """
    size, few = views.colour.shape[1], slice(None, None, 5)  # small and few are enough to find the turn
    small = F.avg_pool2d(views.colour[few].permute(0, 3, 1, 2), 4).permute(0, 2, 3, 1)

    def distance(yaw: float, scale: float = 1.0) -> float:
        seen = scaled(turned(cameras[few], yaw), scale)
        return float((true_views(caption, seen, size // 4)[0] - small).abs().mean())

    yaw = best_yaw(distance)
    near = min(SCALES, key=lambda scale: distance(yaw, scale))
    turn = best_yaw(lambda yaw: distance(yaw, near))  # of the size that fits better
    scale = min(SCALES, key=lambda scale: distance(turn, scale))
    fitted = agreement(true_views(caption, scaled(turned(cameras, turn), scale), size), views)
    return {
        **agreement(true_views(caption, turned(cameras, yaw), size), views),
        "yaw_error": turn_between(yaw, 0.0),
        **{f"{name}_scaled": value for name, value in fitted.items()},
        "scale": scale,
    }


def agreement(truth: tuple[Tensor, Tensor], views: Views) -> dict[str, float]:
    """`iou` of the silhouettes; of the colours of true and other views `l1`, `psnr` in dB
    and `ssim`, each the mean over views, and `lpips` where its weights were fetched.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    colour, silhouette = truth
    planes = colour.permute(0, 3, 1, 2), views.colour.permute(0, 3, 1, 2)
    both, either = (silhouette & views.silhouette).sum((1, 2)), (silhouette | views.silhouette).sum((1, 2))
    return {
        "iou": float((both / either.clamp(min=1)).mean()),
        "l1": float((colour - views.colour).abs().mean()),
        "psnr": float(peak_signal_noise_ratio(*planes, data_range=1.0, dim=(1, 2, 3))),
        "ssim": float(structural_similarity_index_measure(*planes, data_range=1.0)),
        **({"lpips": lpips(colour, views.colour)} if lpips_file("alex").is_file() else {}),
    }


def lpips(first: Tensor, second: Tensor) -> float:
    """Mean LPIPS (AlexNet) of pairs of images `[N, H, W, 3]` in [0, 1]."""
    network = load_lpips()
    return float((network(first) - network(second)).square().sum(1).mean())


def best_yaw(distance: Callable[[float], float]) -> float:
    """The turn in degrees, one of `YAWS`, at which a distance is least."""
    return min((360 * i / YAWS for i in range(YAWS)), key=distance)


@torch.no_grad()
def judged(caption: Caption, cameras: Cameras, views: Views, judge: Judge) -> dict[str, float]:
    """What the judge sees in the views.

    Returns:
        `object`, `colour`, `both`: parts of the views in which it reads the prompt's;
        `frechet`: the Fréchet distance of its features to those of true renders by the
        same cameras; `azimuth`: see `azimuth_consistency`.
    """
    right = judge.classify(views.colour).right([caption] * len(views.colour))
    truth = render(caption.object, caption.colour, cameras, LIGHT_SEED, RESOLUTION)
    return {
        **{name: fmean(hits) for name, hits in right.items()},
        "frechet": frechet_distance(judge.features(truth).numpy(), judge.features(views.colour).numpy()),
        "azimuth": azimuth_consistency(judge, cameras, views.colour),
    }


@torch.no_grad()
def azimuth_consistency(judge: Judge, cameras: Cameras, colours: Tensor) -> float:
    """Part of the views whose azimuth the judge reads within `FAR_OFF`, at the turn at
    which most are.

    A scene with two faces looks like a front from behind as well: whatever the turn,
    one of them is read wrongly. This is the Janus problem as a number.
    """
    read = judge.camera(colours)[0]

    def wrong(yaw: float) -> float:
        return float((turn_between(read, turned(cameras, yaw).azimuth) > FAR_OFF).float().mean())

    return 1 - wrong(best_yaw(wrong))


def depth_agreement(cameras: Cameras, views: Views, tolerance: float = 0.05) -> float:
    """Part of the surface points of each view that the next camera does not look
    through.

    Every opaque pixel's point is projected into the next camera's picture. Where that
    sees the background or something that lies further away than the point by more than
    the tolerance (world units), both cannot be right; NaN if nothing is opaque.
    """
    n, size = views.depth.shape[:2]
    directions = cameras.rays(size)
    points = cameras.position[:, None, None] + views.depth[..., None] * directions
    other = torch.arange(n).roll(-1)
    plane, _ = project(cameras[other], points.flatten(1, 2))
    distance = (points.flatten(1, 2) - cameras.position[other][:, None]).norm(dim=-1)
    pixel = (plane * size).long().clamp(0, size - 1)
    index = pixel[..., 1] * size + pixel[..., 0]
    seen = torch.where(views.silhouette, views.depth, torch.inf)
    # the furthest of the neighbourhood's nearest: an edge that falls beside its pixel
    # is no contradiction
    near = -F.max_pool2d(-seen[other][:, None], 3, stride=1, padding=1)[:, 0].flatten(1)
    fine = near.gather(1, index) <= distance + tolerance
    return float(fine[views.silhouette.flatten(1)].float().mean())


def floaters(density: Tensor) -> float:
    """Part of the dense space `[n, n, n]` outside its largest connected part; NaN where
    nothing is dense.
    """
    labels, count = ndimage.label((density > DENSE).numpy())
    if count == 0:
        return float("nan")
    sizes = np.bincount(labels.ravel())[1:]
    return float(1 - sizes.max() / sizes.sum())


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of images in [0, 1], dB."""
    return float(-10 * torch.log10(((a - b) ** 2).mean().clamp(min=1e-12)))
