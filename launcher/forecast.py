"""How long the views of a test take, where that is minutes on a CPU: measured on a part of one."""

import copy
import time
from typing import Any

import torch

from launcher.messages import say

MANY = 3e8  # samples along rays; fewer take minutes on no machine
PART = 32  # rays a side that are measured


def forecast_test(datamodule: Any, system: Any) -> None:
    """Says how many minutes the views of a test take, if there is no GPU and they take more than one.

    The scene and the random numbers stay as they are.
    """
    cfg, renderer = datamodule.cfg, getattr(system, "renderer", None)
    views, height, width = (getattr(cfg, name, 0) for name in ("n_test_views", "eval_height", "eval_width"))
    rays, samples = views * height * width, getattr(getattr(renderer, "cfg", None), "num_samples_per_ray", 0)
    if torch.cuda.is_available() or rays * samples < MANY:
        return
    with torch.random.fork_rng(devices=[]):
        minutes = _seconds(datamodule, copy.deepcopy(renderer)) * rays / 60
    if minutes >= 1:
        say(
            f"The test renders {views} views of {width} x {height}: about {minutes:,.0f} minutes on this "
            "CPU. data.n_test_views, data.eval_width and data.eval_height make them fewer or smaller."
        )


@torch.no_grad()
def _seconds(datamodule: Any, renderer: Any) -> float:
    """Measures the seconds that a ray takes."""
    datamodule.setup("validate")
    view = next(iter(datamodule.val_dataloader()))
    every = max(1, min(view["rays_o"].shape[1:3]) // PART)
    part = {name: view[name][:, ::every, ::every] for name in ("rays_o", "rays_d")}
    renderer.train().update_step(0, 0)  # finds what is empty
    renderer.eval()
    start = time.perf_counter()
    renderer(**{**view, **part})
    return (time.perf_counter() - start) / part["rays_o"][..., 0].numel()
