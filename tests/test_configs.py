"""What may differ between sibling configs, and that their first comment says so."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

CONFIGS = {file.stem: file for file in sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))}
METHOD = {  # keys by the words that the first comment has for them
    "guidance": ("system.guidance_type", "system.guidance.", "system.loss."),
    "learning rate": ("system.optimizer.args.lr",),
    "adapters": ("system.optimizer.params.guidance.",),
    "the system": ("system_type",),
    "cameras": (
        *("data_type", "data.rounds", "data.cameras_per_round", "data.refresh_every", "data.rays_"),
        *("data.seed", "data.batch_size"),
    ),
    "samples of a ray": ("system.renderer.num_samples_per_ray",),
    "steps": ("trainer.max_steps", "trainer.val_check_interval"),
}
MODEL = {
    "the model": (
        "system.prompt_processor.pretrained_model_name_or_path",
        "system.guidance.guidance_scale",
        "system.guidance.model_options.",
    ),
    "text encoder": ("system.prompt_processor_type",),
    "resolution": (
        "data.height",
        "data.width",
        "data.eval_height",
        "data.eval_width",
        "system.geometry.encoding.",
    ),
    "number of particles": ("data.n_particles",),
    "sampler": ("system.guidance.sampler.",),
    "bandwidth": ("system.guidance.bandwidth.",),
}


def leaves(tree, path=""):
    if not isinstance(tree, dict):
        return {path: tree}
    return {
        key: leaf
        for name, branch in tree.items()
        for key, leaf in leaves(branch, f"{path}.{name}" if path else name).items()
    }


def differing(one, other):
    """Keys, but for the run's name, that two configs do not share with one value."""
    one, other = (
        leaves(OmegaConf.to_container(OmegaConf.load(CONFIGS[name]), resolve=False)) for name in (one, other)
    )
    return sorted(key for key in {**one, **other} if one.get(key) != other.get(key) and key != "name")


def first_comment(name):
    lines = CONFIGS[name].read_text().split("\n#\n")[0].splitlines()
    return " ".join(line.lstrip("# ") for line in lines)


NEWER = tuple(
    f"msd-{family}"
    for family in (
        "z-image", "qwen-image", "sana", "lumina2", "chroma", "pixart-sigma", "flux2-klein", "prx-pixel"
    )
)  # fmt: skip
SIBLINGS = [
    *((name, f"msd-{name.split('-', 1)[1]}", METHOD) for name in CONFIGS if not name.startswith("msd-")),
    *((name, "msd-nerf-sd", MODEL) for name in ("msd-nerf-sdxl", "msd-nerf-sd3")),
    *((name, "msd-sd", MODEL) for name in ("msd-sdxl", "msd-sd3", "msd-if", "msd-flux")),
]


@pytest.mark.parametrize(("name", "base", "allowed"), SIBLINGS, ids=[name for name, *_ in SIBLINGS])
def test_siblings_differ_only_in_what_their_first_comment_says(name, base, allowed):
    comment = first_comment(name)
    assert f"{base}.yaml" in comment
    unexplained = set(differing(name, base))
    for word, prefixes in allowed.items():
        keys = {key for key in unexplained if key.startswith(prefixes)}
        assert bool(keys) == (word in comment), f"{word}: {sorted(keys)}"
        unexplained -= keys
    assert not unexplained


PICTURES = "python -m msd_lab pictures split"
# of msd-sd.yaml from the measured msd-tiny.yaml, reason by key; the latents of both deviate by about 1
DIFFERENCES = {
    "system.prompt_processor.pretrained_model_name_or_path": "model",
    "system.prompt_processor.prompt": "model",
    "system.prompt_processor.spawn": "memory: its text encoder leaves with its process",
    "system.guidance.guidance_scale": "w: 7.5 is the model's published one; the tiny prior's 3 is measured",
    "data.n_particles": "memory: 4 decoded images of 512 pixels a side",
    "data.height": "resolution",
    "data.width": "resolution",
    "system.geometry.encoding.per_level_scale": "resolution: the finest grid has a cell a pixel",
    "system.guidance.sampler.type": f"resolution: with 12,288 numbers split draws one picture: {PICTURES}",
    "system.guidance.sampler.kernel_interval": "resolution: the lower bound is for split's stiff last pulls",
    "system.progress_every": "cost of a step: a frame renders all images at full size",
}


def test_stable_diffusion_has_the_measured_recipe_but_for_reasons():
    assert differing("msd-sd", "msd-tiny") == sorted(DIFFERENCES)
    allowed = ("model", "latent scale", "resolution", "memory", "cost of a step", "w")
    assert {reason.partition(":")[0] for reason in DIFFERENCES.values()} <= set(allowed)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_names_its_runs_after_itself_and_shows_how_to_run_it(name):
    text = CONFIGS[name].read_text()
    assert OmegaConf.load(CONFIGS[name]).name == name
    assert f"#   python launch.py --config configs/{name}.yaml --train" in text
