"""Writes what a host computes for fixed inputs: `parity_probe.py MODEL OUT.npz`, once on each host."""

import os
import sys

import numpy as np
import torch
from omegaconf import OmegaConf

if shim := os.environ.get("THREESTUDIO_SHIM"):  # stand-ins for CUDA packages, to try a checkout without a GPU
    sys.path.append(shim)
    import threestudio_cpu

    threestudio_cpu.install()

import threestudio
from PIL import Image
from threestudio.systems.utils import parse_optimizer, parse_scheduler
from threestudio.utils.config import C_max, load_config
from threestudio.utils.misc import C
from threestudio.utils.ops import get_activation, scale_tensor
from threestudio.utils.saving import SaverMixin

SCHEDULES = [
    3,
    0.5,
    [1.0, 0.0, 100],
    [100, 1.0, 0.1, 200],
    [0, 0.0, 1.0, 50, 5.0, 120, 2.0, 250],
    [0, 1.0, 3.0, 4.0],
]


def scalars():
    values = [OmegaConf.create(v) if isinstance(v, list) else v for v in SCHEDULES]
    steps = [0, 1, 49, 50, 51, 100, 150, 200, 250, 1000]
    yield "C", [[C(value, step // 100, step) for step in steps] for value in values]
    yield "C_exp", [C(values[3], 0, step, interpolation="exp") for step in steps]
    yield "C_max", [C_max(value) for value in values]


def config():
    yaml = """
    {tag: "${rmspace:${system.a},_}", use_timestamp: false, name: n, system: {a: a green car, s: [0, 0., 2.,
    9],
    r: ["${calc_exp_lr_decay_rate:0.25,2}", "${add:3,2}", "${sub:3,2}", "${mul:3,2}", "${div:3,2}",
        "${idiv:3,2}", "${gt0:1}", "${not:1}", "${cmaxgt0:${system.s}}", "${cmaxgt0orcmaxgt0:0,${system.s}}"],
        t: "${tuple2:3}"}}
    """
    cfg = load_config(yaml, from_string=True)
    yield "resolved", [float(x) for x in [*cfg.system.r, *cfg.system.t]]
    yield "folders", [cfg.trial_name, cfg.exp_dir, cfg.trial_dir]


def prompts(model):
    generator = torch.Generator().manual_seed(0)
    cameras = [torch.rand(64, generator=generator) * s + o for s, o in ((100, -10), (1440, -720), (1, 1))]
    for i, front in enumerate((False, True)):
        settings = {"prompt": "a car", "negative_prompt": "bad", "prompt_back": "rear", "spawn": False}
        settings |= {
            "pretrained_model_name_or_path": model,
            "view_dependent_prompt_front": front,
            "use_perp_neg": True,
        }
        made = threestudio.find("stable-diffusion-prompt-processor")(settings)
        output = made()
        yield f"prompts_vd{i}", made.prompts_vd
        for view_dependent in (False, True):
            embeddings = output.get_text_embeddings(*cameras, view_dependent)
            yield f"embeddings{i}_{view_dependent}", embeddings.detach()
        embeddings, weights = output.get_text_embeddings_perp_neg(*cameras)
        yield f"perp_neg{i}", embeddings.detach()
        yield f"perp_neg_weights{i}", weights


def optimizers():
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3), "b": torch.nn.Sequential(torch.nn.Linear(3, 1))})
    groups = "{a: {lr: 0.1}, b.0: {weight_decay: 0.5}}"
    text = f"{{name: AdamW, args: {{lr: 0.01, betas: [0.9, 0.99]}}, params: {groups}}}"
    optimizer = parse_optimizer(OmegaConf.create(text), model)
    for name in ("lr", "weight_decay", "betas", "name"):
        yield f"group_{name}", [group[name] for group in optimizer.param_groups]
    yield "group_sizes", [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    text = """{name: SequentialLR, interval: step, milestones: [3], schedulers: [
        {name: LinearLR, interval: step, args: {start_factor: 0.1, total_iters: 3}},
        {name: ExponentialLR, interval: step, args: {gamma: 0.9}}]}"""
    scheduler = parse_scheduler(OmegaConf.create(text), optimizer)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler["scheduler"].step()
    yield "interval", [scheduler["interval"]]
    yield "rates", rates


def pictures():
    saver = SaverMixin()
    saver.set_save_dir("save")
    ramp = torch.linspace(-0.2, 1.2, 24).reshape(4, 6, 1)
    rgb = {"type": "rgb", "img": torch.cat([ramp, ramp**2, 1 - ramp], -1), "kwargs": {"data_format": "HWC"}}
    wide = {
        "type": "rgb",
        "img": torch.cat([ramp] * 5, -1).permute(2, 0, 1),
        "kwargs": {"data_format": "CHW"},
    }
    grey = {"type": "grayscale", "img": ramp[..., 0], "kwargs": {"cmap": None, "data_range": (0, 1)}}
    for name, items in {"rgb": [rgb, grey], "channels": [wide]}.items():
        yield f"grid_{name}", np.asarray(Image.open(saver.save_image_grid(f"{name}.png", items)))


def functions():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 5, 5, generator=generator)
    yield "scaled", scale_tensor(x, (-1, 1), (2, 5))
    names = (
        "none",
        "lin2srgb",
        "exp",
        "shifted_exp",
        "trunc_exp",
        "sigmoid",
        "shifted_softplus",
        "scale_-11_01",
        "relu",
    )
    for name in names:
        yield f"activation_{name}", get_activation(name)(x)


if __name__ == "__main__":
    _, model, out = sys.argv
    parts = [scalars(), config(), prompts(model), optimizers(), pictures(), functions()]
    np.savez(out, **{name: np.asarray(value) for part in parts for name, value in part})
