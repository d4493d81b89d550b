"""No image of the bundled configs' networks dies: each fits a natural picture."""

import numpy as np
import pytest
import threestudio
import torch
from omegaconf import OmegaConf
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from tests.test_configs import CONFIGS

POINTS = 4096
"""Points of a step: all of 64 x 64 pixels."""
PICTURES = ("china.jpg", "flower.jpg")


def picture(name, side):
    """One of scikit-learn's photographs, its middle, `[side * side, 3]` in [0, 1]."""
    square = ImageOps.fit(Image.fromarray(load_sample_image(name)), (side, side))
    return torch.from_numpy(np.array(square)).reshape(-1, 3) / 255


def fitted(config, target, particles, steps):
    """Images `[particles, pixels, 3]` of a config's network after so many steps of its optimiser."""
    system = OmegaConf.load(CONFIGS[config]).system
    geometry = {"encoding_type": system.geometry.encoding_type, "encoding": dict(system.geometry.encoding)}
    sizes = {"depth": system.geometry.depth, "width": system.geometry.width, "n_particles": particles}
    images = threestudio.find(system.geometry_type)({**geometry, **sizes})
    optimizer = getattr(torch.optim, system.optimizer.name)(images.parameters(), **system.optimizer.args)
    side = round(len(target) ** 0.5)
    axis = (torch.arange(side) + 0.5) / side
    points = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        chosen = torch.randperm(len(points), generator=generator)[:POINTS]
        optimizer.zero_grad()
        (images(points[chosen]) - target[chosen]).square().sum().backward()
        optimizer.step()
    with torch.no_grad():
        return torch.cat([images(some) for some in points.split(POINTS)], 1)


def require_alive(images, target):
    """All above 25 dB, and none constant."""
    psnr = -10 * (images - target).square().mean((1, 2)).log10()
    assert psnr.min() > 25, psnr
    assert images.std(1).mean(1).min() > target.std(0).mean() / 2
    print(f"{psnr.min():.1f} to {psnr.max():.1f} dB")


@pytest.mark.parametrize(("name", "side"), [("china.jpg", 256), ("flower.jpg", 64)])
def test_eight_images_fit_a_picture(name, side):
    target = picture(name, side)
    require_alive(fitted("msd-sd", target, particles=8, steps=100), target)


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize(
    ("config", "side"),
    [("msd-sd", 64), ("msd-sd", 256), ("msd-sdxl", 256), ("msd-sd3", 256), ("msd-flux", 256), ("msd-if", 64)],
)
def test_thirty_two_images_fit_a_picture(config, side, name):
    target = picture(name, side)
    require_alive(fitted(config, target, particles=32, steps=100), target)
