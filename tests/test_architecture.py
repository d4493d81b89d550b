"""What docs/architecture.md says of adding a part: one file in custom/, one config; done here in a temporary
folder.
"""

from pathlib import Path

import pytest
from threestudio_msd.distillation import SAMPLERS, SCHEDULES

import launch
from launcher import host

CONFIGS = Path(__file__).parents[1] / "configs"

ESTIMATOR = '''
from dataclasses import dataclass
from typing import ClassVar

import threestudio
from threestudio.utils.base import BaseObject
from threestudio_msd.distillation import Estimate, Estimator
from threestudio_msd.guidance.base import LatentGuidance
from threestudio_msd.papers import Paper


@dataclass(frozen=True)
class Denoised(Estimator):
    """Towards the denoised render: y - D(y + sigma n)."""

    paper: ClassVar[Paper] = Paper("somebody2026denoised", "Denoised", "Body, Some", 2026)
    sigma: float = 1.0

    def __call__(self, y, prior, noise, progress, state=None):
        target = prior.denoiser(y + self.sigma * noise(y), y.new_tensor(self.sigma))
        return Estimate(target, y - target, 1, y.new_tensor(self.sigma))


@threestudio.register("denoised-guidance")
class DenoisedGuidance(LatentGuidance, BaseObject):
    """It in latents."""

    @dataclass
    class Config(LatentGuidance.Config):
        """Its settings."""

        sigma: float = 1.0

    cfg: Config
    name = "denoised"
    paper = Denoised.paper

    @property
    def estimator(self):
        return Denoised(self.cfg.sigma)
'''

SAMPLER = '''
from dataclasses import dataclass

from threestudio_msd.distillation import SAMPLERS, Product
from threestudio_msd.distillation.tensors import expand


@dataclass(frozen=True)
class Nearby:
    """The denoiser's answer at the kernel's own noise level."""

    boost: float = 1.0

    def __call__(self, y, lam, prior, noise):
        return Product(prior.denoiser(y + self.boost * expand(lam, y) * noise(y), lam), 1)


SAMPLERS["nearby"] = Nearby
'''

BANDWIDTH = '''
from dataclasses import dataclass

from threestudio_msd.distillation import SCHEDULES


@dataclass(frozen=True)
class Halved:
    """Half the start from the middle on."""

    start: float

    @property
    def last(self):
        return self.start / 2

    def init(self, y):
        return {}

    def __call__(self, progress, state):
        return self.start / 2 if progress > 0.5 else self.start

    def step(self, state, shift):
        return state


SCHEDULES["halved"] = Halved
'''

GEOMETRY = '''
from dataclasses import dataclass

import threestudio
import torch
from threestudio.models.geometry.base import BaseImplicitGeometry
from torch import nn


@threestudio.register("my-ball")
class Ball(BaseImplicitGeometry):
    """A ball of one colour."""

    @dataclass
    class Config(BaseImplicitGeometry.Config):
        """Its settings."""

        size: float = 0.3

    cfg: Config

    def configure(self):
        super().configure()
        self.size = nn.Parameter(torch.tensor(self.cfg.size))
        self.colour = nn.Parameter(torch.zeros(3))

    def forward_density(self, points):
        return 20 * torch.sigmoid(20 * (self.size - points.norm(dim=-1, keepdim=True)))

    def forward(self, points, output_normal=False):
        colours = self.colour.expand(*points.shape[:-1], 3)
        return {"density": self.forward_density(points), "features": colours}
'''

ADDITIONS = {
    "estimator": (
        ESTIMATOR,
        ("msd-csd-guidance", "denoised-guidance"),
        ("min_step_percent: 0.02", "sigma: 2.0"),
        ("max_step_percent: 0.98", "guidance_scale: 3.0"),
        ("    lambda_csd:", "    lambda_denoised:"),
    ),
    "sampler": (
        SAMPLER,
        ("type: split", "type: nearby"),
        ("      steps: 8", "      boost: 1.0"),
        ("kernel_interval: [0.3, 5.0]", "# kernel_interval"),
    ),
    "bandwidth": (
        BANDWIDTH,
        ("type: adaptive", "type: halved"),
        ("end: 1.0", "# end"),
    ),
    "geometry": (
        GEOMETRY,
        ("msd-multiscale-grid", "my-ball"),
        ("    seed: ${seed}\n    density_blob_std: 0.25", "    size: 0.25"),
        ("    sharpness: 40.0", ""),
        ("lambda_sparsity: 0.85", "lambda_sparsity: 0.0"),
        ("lambda_tv: 0.001", "lambda_tv: 0.0"),
    ),
}
BASES = {"estimator": "csd-tiny", "geometry": "msd-nerf-tiny"}  # msd-tiny for the others
SMALL = {
    "msd-nerf-tiny": [
        "data.n_test_views=2",
        "data.eval_height=16",
        "data.eval_width=16",
        "data.cameras_per_round=24",
    ],
}


@pytest.fixture
def custom(tmp_path, monkeypatch):
    """An empty folder of extensions beside the bundled one, and a working directory of its own."""
    monkeypatch.setitem(SAMPLERS, "nearby", None)  # so that the entries are gone afterwards
    monkeypatch.setitem(SCHEDULES, "halved", None)
    monkeypatch.syspath_prepend(tmp_path / "custom")
    monkeypatch.setattr(launch, "import_extensions", lambda: host.import_extensions(tmp_path / "custom"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "custom").mkdir()
    return tmp_path / "custom"


@pytest.mark.parametrize("what", ADDITIONS)
def test_a_part_is_one_file_and_one_config(what, custom):
    source, *changes = ADDITIONS[what]
    base = BASES.get(what, "msd-tiny")
    (custom / f"my_{what}.py").write_text(source)
    text = (CONFIGS / f"{base}.yaml").read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    config = custom.parent / f"{what}.yaml"
    config.write_text(text)
    small = ["trainer.max_steps=2", "name=added", "tag=added", "use_timestamp=false"]
    small += SMALL.get(base, ["data.n_particles=2"])
    assert launch.main(["--config", str(config), "--train", *small]) == 0
    assert list(Path("outputs/added/added/save/it2-test").glob("*.png"))
