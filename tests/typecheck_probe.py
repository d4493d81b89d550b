"""A run of the dummy extension, every estimator, and guidance and family, with types checked:
`typecheck_probe.py [SD OTHERS...]`.

Run as a program of its own, since what is imported already can no longer be checked.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# in place of this script's folder, whose own folder `threestudio` holds tests
sys.path[:1] = [str(ROOT), str(ROOT / "custom")]
sys.path += [str(ROOT / "portable"), str(ROOT / "tests")]

import launch  # noqa: E402
from launcher import host  # noqa: E402

DUMMY = ROOT / "tests" / "launch_extension"
launch.import_extensions = lambda: host.import_extensions(DUMMY)
SHORT = ("tag=t", "trainer.max_steps=4", "trainer.val_check_interval=2")
if launch.main(["--config", str(DUMMY / "dummy.yaml"), "--train", "--typecheck", *SHORT]):
    sys.exit("the run failed")

import torch  # noqa: E402
from mixtures import exact_prior, triangle  # noqa: E402
from threestudio_msd.distillation import (  # noqa: E402
    CSD,
    ISM,
    MSD,
    SAMPLERS,
    SCHEDULES,
    SDI,
    SDS,
    VSD,
    SampleNoise,
    Split,
)

GUIDANCES = ("msd", "msd-sds", "msd-sdi", "msd-csd", "msd-ism", "msd-vsd")


def run_estimators() -> None:
    """Every estimator and product sampler on three modes in the plane."""
    y, prior, noise = torch.zeros(4, 2), exact_prior(triangle()), SampleNoise(range(4))
    samplers = [*(kind() for kind in SAMPLERS.values()), Split(4, centre="inversion")]
    msd = [
        MSD(sampler, kind(1.0, 0.5))
        for sampler in samplers
        for name, kind in SCHEDULES.items()
        if name != "levels"
    ]
    for estimator in (*msd, SDS(), SDI(), CSD(), ISM(), VSD(triangle())):
        assert estimator(y, prior, noise, 0.5).gradient.shape == y.shape


def run_guidances(pipeline: str) -> None:
    """Every guidance module on two renders."""
    import threestudio
    import threestudio_msd
    from guidance.stand_ins import PromptUtils, cameras, renders
    from threestudio.models.prompt_processors.base import PromptProcessorOutput

    class Prompts(PromptUtils, PromptProcessorOutput):
        """The stand-in, as the type that the annotations ask for."""

    threestudio_msd.register()
    for name in GUIDANCES:
        settings = {"pretrained_model_name_or_path": pipeline, "trainer_max_steps": 10}
        guidance = threestudio.find(f"{name}-guidance")(settings)
        guidance(renders(), Prompts(), **cameras(2), index=torch.arange(2))


def run_family(pipeline: str) -> None:
    """A pretrained model with its own prompts, there and back."""
    from threestudio_msd.priors import embed_prompts, load_model

    model = load_model(pipeline)
    condition = model.condition(embed_prompts(["a mug"], pipeline))
    z = model.encode(torch.rand(1, 3, model.resolution, model.resolution))
    with torch.no_grad():
        model.decode(model.denoiser(z, torch.tensor(1.0), condition))


if __name__ == "__main__":
    run_estimators()
    if sys.argv[1:]:
        run_guidances(sys.argv[1])
    for pipeline in sys.argv[1:]:
        run_family(pipeline)
    try:
        SDS()(torch.zeros(4, 2), exact_prior(triangle()), SampleNoise(range(4)), "half")
    except Exception as error:
        print(type(error).__name__)
