"""What docs/architecture.md says of adding a part: one file in custom/, one config; done here in a temporary folder."""

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


@dataclass(frozen=True)
class Nearby:
    """The denoiser's answer at the kernel's own noise level."""

    boost: float = 1.0

    def __call__(self, y, lam, prior, noise):
        return Product(prior.denoiser(y + self.boost * lam * noise(y), lam), 1)


SAMPLERS["nearby"] = Nearby
'''

BANDWIDTH = '''
from dataclasses import dataclass

from threestudio_msd.distillation import SCHEDULES


@dataclass(frozen=True)
class Halved:
    """Half the start from the middle on."""

    start: float

    def init(self, y):
        return {}

    def __call__(self, progress, state):
        return self.start / 2 if progress > 0.5 else self.start

    def step(self, state, shift):
        return state


SCHEDULES["halved"] = Halved
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
        ("type: exponential", "type: halved"),
        ("end: 1.0", "# end"),
    ),
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
    (custom / f"my_{what}.py").write_text(source)
    text = (CONFIGS / ("csd-tiny.yaml" if what == "estimator" else "msd-tiny.yaml")).read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    config = custom.parent / f"{what}.yaml"
    config.write_text(text)
    small = ["data.n_particles=2", "trainer.max_steps=2", "name=added", "tag=added", "use_timestamp=false"]
    assert launch.main(["--config", str(config), "--train", *small]) == 0
    assert Path("outputs/added/added/save/path.png").is_file()
