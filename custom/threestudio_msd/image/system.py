"""`msd-image-system`: text to 2D, with any guidance of threestudio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import threestudio
import torch
from threestudio.systems.base import BaseSystem
from torch import Tensor

from ..checks import (
    check_image_experiment,
    require_every_particle,
    require_weights,
    warn_of_unknown_prompt,
)
from ..distillation.tensors import require_finite
from ..errors import UserError, first_line, is_of_disk
from ..fields import check_fields, number
from ..processes import averaged, collected
from .frames import Frame, FrameList, draw_path, enlarged, read_tiles, spread, tile

IN_BAR = ("loss", "bandwidth", "nfe")
NAN_HINT = "Lower system.optimizer's learning rate or the guidance scale"


@threestudio.register("msd-image-system")
class ImageSystem(BaseSystem):
    """The Lightning system of text-to-2D runs: optimises many images at once so that a
    guidance's loss falls.

    Writes below `save/`: `itSTEP-val.png`, all particles; `progress/`, frames; and
    after training `itSTEP-test/I.png`, one per particle, `itSTEP-test.mp4`, the frames
    as a video, and `path.png`: start, path and result of every particle.
    """

    @dataclass
    class Config(BaseSystem.Config):
        geometry_type: str = "msd-image-mlp"
        geometry: dict = field(default_factory=dict)

        guidance_type: str = "msd-guidance"
        guidance: dict = field(default_factory=dict)

        prompt_processor_type: str = "stable-diffusion-prompt-processor"
        prompt_processor: dict = field(default_factory=dict)

        # optimiser steps from frame to frame of the video, and how many of the frames `path.png` shows
        progress_every: int = number(2, least=1)
        path_columns: int = number(7, least=2)

        def __post_init__(self) -> None:
            check_fields(self)

    cfg: Config

    def configure(self) -> None:
        warn_of_unknown_prompt(self.cfg.prompt_processor)
        self.geometry = threestudio.find(self.cfg.geometry_type)(self.cfg.geometry)
        self.bandwidth: float | None = None
        self.finished = False

    def setup(self, stage: str) -> None:
        """Load prompt processor and guidance, once, for training only: images are
        validated and tested without them.

        Args:
            stage: Lightning's name of what begins: fit, validate, test or predict.
        """
        if stage == "fit" and not hasattr(self, "guidance"):
            self.prompt_processor = threestudio.find(self.cfg.prompt_processor_type)(
                self.cfg.prompt_processor
            )
            self.guidance = threestudio.find(self.cfg.guidance_type)(self.cfg.guidance)
            self.prompt_utils = self.prompt_processor()
            if self.cfg.weights is not None and isinstance(self.guidance, torch.nn.Module):
                self.load_weights(self.cfg.weights, self.cfg.weights_ignore_modules)  # now the guidance's too

    def forward(self, batch: dict[str, Any]) -> Tensor:
        """Render particles.

        Args:
            batch: As `make_batch` returns it; `index`, `[B]`, selects the particles.

        Returns:
            RGB in [0, 1], `[B, H, W, 3]`.
        """
        return self.geometry(batch["coordinates"], batch["index"]).unflatten(
            1, (batch["height"], batch["width"])
        )

    def render_all(self, batch: dict[str, Any]) -> Tensor:
        """Render every particle without gradient, one by one to save memory.

        Args:
            batch: As `make_batch` returns it; its `index` is ignored.

        Returns:
            RGB in [0, 1], `[P, H, W, 3]`.

        Raises:
            NonFiniteError: An image holds NaN or Inf.
        """
        with torch.no_grad():
            everyone = torch.arange(self.geometry.cfg.n_particles, device=self.device)
            images = torch.cat([self({**batch, "index": one}) for one in everyone.split(1)])
        return require_finite(f"rgb at step {self.true_global_step}", images, NAN_HINT)

    @classmethod
    def check_experiment(cls, settings: Mapping[str, Any]) -> None:
        """Check that the blocks of an experiment's settings agree and its sizes fit
        into memory; the launcher calls this.

        Args:
            settings: The whole config.

        Raises:
            UserError: Particles, losses, optimiser groups or sizes do not fit; the
                message begins with the key.
        """
        check_image_experiment(settings, cls.Config)

    def on_fit_start(self) -> None:
        """Check that every optimiser step reaches every particle once, as threestudio's
        own launcher does not.

        Raises:
            UserError: The particles of data and geometry differ, or
                `accumulate_grad_batches` is wrong.
        """
        data, particles = self.trainer.datamodule.cfg, self.geometry.cfg.n_particles
        require_every_particle(
            data.n_particles, particles, data.batch_size, self.trainer.accumulate_grad_batches
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Render a batch, call the guidance, log its numbers, and return the loss.

        Ends the run once the guidance returns `finished` 1.

        Args:
            batch: As `make_batch` returns it.
            batch_idx: Not used.

        Returns:
            The weighted loss times the number of particles, 0-d.

        Raises:
            NonFiniteError: An image or the loss holds NaN or Inf.
            UserError: The guidance returns no loss, or a loss that has no weight in the
                config.
        """
        step = self.true_global_step
        rgb = require_finite(f"rgb at step {step}", self(batch), NAN_HINT)
        out = self.guidance(rgb, self.prompt_utils, **batch)
        loss = require_finite(f"loss at step {step}", self.weighted_loss(out), NAN_HINT)
        calls = out.get("nfe", 0.0) / self.trainer.accumulate_grad_batches  # each of them has other particles
        logged = self._log_scalars({**out, "loss": loss, "nfe": calls}, len(rgb))
        self.bandwidth = logged.get("bandwidth")
        if step % self.cfg.progress_every == 0:
            self._save_frame(batch)
        if logged.get("finished") == 1:  # in all processes
            threestudio.info(f"All particles have converged: the run ends at step {step + 1}")
            self.finished = self.trainer.should_stop = True
        # a guidance averages over the batch, and Lightning over accumulated batches: undone, so that a
        # particle's gradient, and with it its whole path, does not depend on how many others there are (Adam
        # would forgive the factor, SGD would not)
        return loss * self.geometry.cfg.n_particles

    def weighted_loss(self, out: dict[str, Any]) -> Tensor:
        """Sum a guidance's losses, each `loss_NAME` times the scheduled scalar
        `loss.lambda_NAME` of the config.

        Args:
            out: The guidance's output; other keys are ignored.

        Returns:
            The sum, 0-d.

        Raises:
            UserError: There is no loss, or a loss has no weight.
        """
        losses = {name.removeprefix("loss_"): out[name] for name in out if name.startswith("loss_")}
        if not losses:
            raise UserError(f"{self.cfg.guidance_type} returns no loss, only {', '.join(out)}")
        require_weights(self.cfg.loss, losses)
        return sum(value * self.C(self.cfg.loss[f"lambda_{name}"]) for name, value in losses.items())

    def _log_scalars(self, out: dict[str, Any], batch_size: int) -> dict[str, float]:
        """Log the numbers among what a guidance returns, averaged over all processes,
        and return them.
        """
        scalars = {
            name: float(value.detach() if isinstance(value, Tensor) else value)
            for name, value in out.items()
            if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)
        }
        logged = averaged(scalars, self.device)
        for name, value in logged.items():
            self.log(f"train/{name}", value, prog_bar=name in IN_BAR, batch_size=batch_size)
        return logged

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Check the gradients before they change the weights, so that the last
        checkpoint stays intact.

        Under 16-bit mixed precision nothing is checked: its loss scaler meets Inf by
        design, and skips the step.

        Raises:
            NonFiniteError: A gradient holds NaN or Inf; the message names the
                parameter.
        """
        if self.trainer.precision == "16-mixed":  # its loss scaler meets Inf by design, and skips the step
            return
        gradients = {name: p.grad for name, p in self.named_parameters() if p.grad is not None}
        whole = torch.stack([gradient.isfinite().all() for gradient in gradients.values()])
        for (name, gradient), finite in zip(gradients.items(), whole.tolist(), strict=True):
            if not finite:
                require_finite(f"gradient of {name} at step {self.true_global_step}", gradient, NAN_HINT)

    def on_train_end(self) -> None:
        """Save the last frame and, if the guidance ended the run early, a last
        checkpoint.
        """
        self._save_last_frame(self.trainer.train_dataloader.dataset)
        callback = self.trainer.checkpoint_callback
        if self.finished and callback is not None and callback.dirpath:
            self.trainer.save_checkpoint(os.path.join(callback.dirpath, "last.ckpt"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the guidance's own state to a checkpoint, under the key `guidance`, if it
        has one.
        """
        if hasattr(self.guidance, "checkpoint_state"):
            checkpoint["guidance"] = collected(self.guidance.checkpoint_state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if not hasattr(self, "guidance"):  # nor are there parameters of it to load
            checkpoint["state_dict"] = {
                name: weight
                for name, weight in checkpoint["state_dict"].items()
                if not name.startswith("guidance.")
            }
        elif "guidance" in checkpoint:
            self.guidance.load_checkpoint_state(checkpoint["guidance"])

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Save all particles as one picture, `itSTEP-val.png`, in the first process
        only; returns nothing.

        Raises:
            NonFiniteError: An image holds NaN or Inf.
        """
        if self.trainer.is_global_zero:
            self._save_grid(f"it{self.true_global_step}-val.png", self.render_all(batch), "validation_step")

    def on_validation_epoch_end(self) -> None:
        """Do nothing; threestudio requires the method of every system."""

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Save each particle as a picture, `itSTEP-test/I.png`, in the first process
        only; returns nothing.

        Raises:
            NonFiniteError: An image holds NaN or Inf.
        """
        if self.trainer.is_global_zero:
            for i, image in enumerate(self.render_all(batch)):
                self.save_rgb_image(f"it{self.true_global_step}-test/{i}.png", image)

    def on_test_epoch_end(self) -> None:
        """Draw `path.png` and make the video, in the first process only, if frames were
        saved.

        A video that cannot be made, as without ffmpeg, costs a warning.

        Raises:
            OSError: A file cannot be written.
        """
        frames = self._frames().read() if self.trainer.is_global_zero else []
        if not frames:
            return
        if frames[-1].step < self.true_global_step:  # killed between the last checkpoint and the last frame
            self._save_last_frame(self.trainer.datamodule.train_dataloader().dataset)
            frames = self._frames().read()
        shown = spread(frames, self.cfg.path_columns)
        particles = self.geometry.cfg.n_particles
        tiles = [read_tiles(self.get_save_path(f"progress/{frame.step}.png"), particles) for frame in shown]
        draw_path(self.get_save_path("path.png"), shown, tiles, self.cfg.prompt_processor.get("prompt", ""))
        self._save_video(f"it{self.true_global_step}-test")

    def _save_video(self, name: str) -> None:
        try:
            self.save_img_sequence(
                name,
                "progress",
                r"(\d+)\.png",
                save_format="mp4",
                fps=15,
                name="test",
                step=self.true_global_step,
            )
        except Exception as error:  # an ffmpeg that is missing or broken, which nothing else needs
            if is_of_disk(error):
                raise
            threestudio.warn(f"{name}.mp4 is not made: {first_line(error)}; pip install 'imageio[ffmpeg]'")

    def on_test_end(self) -> None:
        threestudio.info(f"Test results saved to {self.get_save_dir()}")

    def _frames(self) -> FrameList:
        return FrameList(self.get_save_path("progress/frames.json"))

    def _save_frame(self, batch: dict[str, Any]) -> None:
        step = self.true_global_step
        if self.trainer.is_global_zero:
            self._save_grid(f"progress/{step}.png", self.render_all(batch))
            self._frames().add(Frame(step, self.bandwidth))

    def _save_last_frame(self, dataset: Iterable[dict[str, Any]]) -> None:
        batch = next(iter(dataset))
        self._save_frame({**batch, "coordinates": batch["coordinates"].to(self.device)})

    def _save_grid(self, filename: str, images: Tensor, name: str | None = None) -> None:
        self.save_rgb_image(filename, tile(enlarged(images, 128)), name=name, step=self.true_global_step)
