"""A config's optimiser steps without weights: what they compute, move and keep in memory.

Network, autoencoder, guidance and images run on the `meta` device, where tensors have shapes and no
values. What the code reads of a value is 1 there. How many samples a ray of a scene has depends on values:
scenes are rendered on the CPU, as they begin, by a part of the rays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import ceil
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio_msd.errors import UserError
from threestudio_msd.guidance.base import LatentGuidance
from threestudio_msd.image.data import ImageDataModuleConfig, make_batch
from threestudio_msd.priors import PretrainedModel
from torch import Tensor
from torch.fx.experimental._config import patch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

from .meta_models import MetaModel
from .recorder import Recorder, Work
from .scene_costs import Scene

META = torch.device("meta")
READS = (Tensor.item, Tensor.tolist, Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.cpu)
LEFT_OUT = ("enable_compile", "enable_sequential_cpu_offload", "enable_channels_last_format")
"""Options that `meta` has no use for; they change no shapes."""


class Readable(TorchFunctionMode):
    """Lets code read values of tensors on `meta`, all 1, and takes the attention that CPUs and GPUs take."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        first = args[0] if args else None
        if not (isinstance(first, Tensor) and first.is_meta):
            return function(*args, **(kwargs or {}))
        if function in READS:
            return function(torch.ones(first.shape, dtype=first.dtype), *args[1:], **(kwargs or {}))
        if function is F.scaled_dot_product_attention:
            return attention(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention that keeps no matrix of all queries and keys."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return flash(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]


class Prompt:
    """Embeddings of no text, in the place of a prompt processor's."""

    def __init__(self, shape: tuple[int, int], use_perp_neg: bool = False) -> None:
        self.shape, self.use_perp_neg = shape, use_perp_neg

    def get_text_embeddings(self, elevation: Tensor, *_: object) -> Tensor:
        return torch.zeros(2 * len(elevation), *self.shape, device=META)

    def get_text_embeddings_perp_neg(self, elevation: Tensor, *_: object) -> tuple[Tensor, Tensor]:
        batch = len(elevation)
        return torch.zeros(4 * batch, *self.shape, device=META), torch.zeros(batch, 2, device=META)


def guidance_on_meta(settings: Mapping[str, Any], model: PretrainedModel) -> Any:
    """Build a config's guidance around a model on `meta`; it never converges.

    Raises:
        UserError: It is not one of this package's.
    """
    cls = threestudio.find(settings["guidance_type"])
    if not issubclass(cls, LatentGuidance):
        raise UserError(f"system.guidance_type: {settings['guidance_type']} cannot be estimated")
    own = {key: value for key, value in settings["guidance"].items() if key not in LEFT_OUT}
    if "stop_threshold" in own:
        own["stop_threshold"] = 0.0
    members = {
        "load": lambda self: model,
        "device": property(lambda self: META, lambda self, value: None),
        # without their guard against autocast, which `meta` does not know
        **{name: getattr(cls, name).__wrapped__ for name in ("__call__", "begin_round")},
    }
    guidance = type(cls.__name__, (cls,), members)(own)
    return guidance.to(META) if isinstance(guidance, torch.nn.Module) else guidance


def moved(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Move a batch to `meta`, but for its `index`, whose values matter."""
    return {
        name: value.to(META) if isinstance(value, Tensor) and name != "index" else value
        for name, value in batch.items()
    }


class DryRun:
    """The steps of a config.

    Args:
        settings: An experiment's configuration, resolved.
        model: Its model on `meta`.

    Attributes:
        weights: Bytes of the pretrained model.
    """

    def __init__(self, settings: Mapping[str, Any], model: MetaModel) -> None:
        self.system, self.data = settings["system"], settings["data"]
        self.data_type, self.steps = settings["data_type"], settings["trainer"]["max_steps"]
        self.guidance = guidance_on_meta(self.system, model.model)
        perp_neg = self.system["prompt_processor"].get("use_perp_neg", False)
        self.prompt = Prompt(model.prompt, perp_neg)
        self.weights = model.bytes
        self.accumulate = settings["trainer"].get("accumulate_grad_batches", 1)

    def run(self) -> Work:
        """Record a whole run: every kind of step once or twice, multiplied."""
        with Readable(), patch(meta_nonzero_assume_all_nonzero=True):
            work = self.images() if self.data_type == "msd-image-datamodule" else self.scene()
        work.peak += self.weights
        return work

    def optimiser(self, parameters: list[Tensor]) -> torch.optim.Optimizer:
        chosen, adapters = self.system["optimizer"], getattr(self.guidance, "parameters", list)
        trained = [p for p in (*parameters, *adapters()) if p.requires_grad]
        return getattr(torch.optim, chosen["name"])(trained, **chosen.get("args", {}))

    def images(self) -> Work:
        """Record a run of `msd-image-system`."""
        cfg = ImageDataModuleConfig(**self.data)
        geometry = threestudio.find(self.system.get("geometry_type", "msd-image-mlp"))(
            self.system["geometry"]
        )
        optimiser = self.optimiser(list(geometry.to(META).parameters()))

        def step(number: int) -> None:
            for index in torch.arange(cfg.n_particles).split(cfg.batch_size or cfg.n_particles):
                batch = moved(make_batch(cfg.height, cfg.width, index))
                rgb = geometry(batch["coordinates"], index).unflatten(1, (cfg.height, cfg.width))
                self.guide(rgb, batch).backward()
            optimiser.step()
            optimiser.zero_grad()

        run = self.repeated(step, self.steps)
        run.peak += sum(p.nbytes for p in geometry.parameters())
        return run

    def guide(self, rgb: Tensor, batch: Mapping[str, Any]) -> Any:
        """Call the guidance; returns the sum of its losses."""
        out = self.guidance(rgb, self.prompt, **batch)
        return sum(value for name, value in out.items() if name.startswith("loss_"))

    def repeated(self, step: Callable[[int], None], steps: int, groups: int = 1) -> Work:
        """Record a run of equal periods, in which every target is estimated once, and of a final fit.

        Args:
            step: An optimiser step, by its number.
            steps: Of the run.
            groups: Steps until every particle or camera had its turn.
        """
        period = min(groups * getattr(self.guidance.cfg, "refresh_every", 1), steps)
        final = min(getattr(self.guidance, "final_fit_steps", 0), steps - period)
        windows = [(0, period, 1.0), (period, period, ceil((steps - final) / period) - 1.0)]
        run = Work()
        with Recorder() as recorder:  # one for all, so that it sees when what a step keeps is freed
            for first, count, times in [*windows, (self.steps - 1, 1, float(final))]:
                recorder.operations.clear()
                for number in range(first, first + count) if times else ():
                    self.guidance.update_step(0, number)
                    step(number)
                run.add(Work(Counter(recorder.operations)), times)
        run.peak = recorder.peak
        return run

    def scene(self) -> Work:
        """Record a run of a text-to-3D system."""
        scene, run = Scene(self.system), Work()
        module = threestudio.find(self.data_type)(self.data)
        module.setup("fit")
        cameras, cfg = module.train_dataset, module.cfg
        step = scene.step(self.optimiser(scene.parameters()))
        if getattr(cfg, "rays_per_fit", 0):
            run.add(self.rounds(scene, cameras))
        else:
            starts = [0, *cfg.resolution_milestones, self.steps]
            for first, end in pairwise(starts):
                run.add(self.views(scene, cameras, first, (end - first) * self.accumulate))
        run.add(step, self.steps)
        run.peak += scene.bytes
        return run

    def views(self, scene: Scene, cameras: Any, first: int, steps: int) -> Work:
        """Record steps that render whole views of one size."""
        cameras.update_step(0, first)
        rendered = scene.render(cameras.collate({"step": first}))

        def step(number: int) -> None:
            with _disable_current_modes():  # the CPU's, before the step
                batch = moved(cameras.collate({"step": number}))
            self.guide(*with_layers(batch)).backward()

        stage = self.repeated(step, steps, getattr(cameras, "groups", 1))
        stage.peak = max(rendered.peak, rendered.kept + stage.peak)
        stage.add(Work(Counter(rendered.operations)), steps)
        return stage

    def rounds(self, scene: Scene, cameras: Any) -> Work:
        """Record rounds: the targets of all views, then fits of rays."""
        batch, fits = cameras.collate({"step": 0}), cameras.cfg.refresh_every
        views = {name: x for name, x in batch.items() if isinstance(x, Tensor) and name != "rays"}
        groups = torch.arange(len(batch["index"])).split(batch["at_once"])
        parts = [{name: x[rows] for name, x in views.items()} for rows in groups]
        seen, fitted = scene.render(parts[0], trains=False), scene.render(batch, batch["rays"])
        rounds, run = ceil(self.steps / fits), Work()
        with Recorder() as recorder:
            self.guidance.begin_round(0, [with_layers(moved(part)) for part in parts], self.prompt)
            run.add(Work(Counter(recorder.operations)), rounds)
            recorder.operations.clear()
            rays = {"rays_o": batch["rays"][:, None, None]}
            rgb, layers = with_layers(moved(rays))
            self.guide(rgb, {**moved(batch), **layers}).backward()
            run.add(Work(Counter(recorder.operations)), self.steps)
        run.add(Work(Counter(seen.operations)), rounds * len(groups))
        run.add(Work(Counter(fitted.operations)), self.steps)
        run.peak = recorder.peak + max(seen.peak, fitted.peak)
        return run


def with_layers(batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """Make a batch's renders on `meta`, and hand on their layers as `msd-scene` does."""
    shape = batch["rays_o"].shape[:3]
    rgb, opacity = (torch.zeros(*shape, n, device=META, requires_grad=True) for n in (3, 1))
    return rgb, {**batch, "layers": (rgb, opacity)}
