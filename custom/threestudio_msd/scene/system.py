"""`msd-scene`: a mixin for threestudio's text-to-3D systems,
`dreamfusion-system:msd-scene`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import threestudio
import torch

from ..checks import check_scene_experiment, require_total_variation, warn_of_unknown_prompt
from ..distillation.tensors import require_finite
from ..processes import collected

NAN_HINT = "Lower system.optimizer's learning rate or the guidance scale; the last checkpoint is intact."


Mixed: Any = object
"""Stands for the system that the mixin is mixed with."""


@threestudio.register("msd-scene")
class SceneMixin(Mixed):
    """Adds to a text-to-3D system: total variation, rays of many views at once, a stop
    at NaN, and the guidance's state in checkpoints.

    It stands in front of the system's class, so that `super()` is the system:
    `find("X:msd-scene")` derives from `SceneMixin` and then from X. The scheduled
    scalar `loss.lambda_tv` weighs total variation, which is not computed if that is 0
    or missing.
    """

    @classmethod
    def check_experiment(cls, settings: Mapping[str, Any]) -> None:
        """Check that the blocks of an experiment's settings agree and its sizes fit
        into memory; the launcher calls this.

        Args:
            settings: The whole config.

        Raises:
            UserError: Losses, optimiser groups or sizes do not fit; the message begins
                with the key.
        """
        check_scene_experiment(settings)

    def configure(self) -> None:
        """Build the system, and warn of a prompt that the prior was not trained on."""
        super().configure()
        warn_of_unknown_prompt(self.cfg.prompt_processor)

    def forward(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Render; in training, hand foreground and opacity on to the guidance."""
        output = super().forward(batch)
        if self.training:
            batch["layers"] = output["comp_rgb_fg"], output["opacity"]
        return output

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """Add total variation to the loss of the system's own training step.

        Args:
            batch: The cameras' batch.
            batch_idx: Number of the batch.

        Returns:
            The system's output, a dict whose `loss` includes total variation.

        A batch of rays is one fit of a round, whose targets are estimated at its first.

        Raises:
            UserError: `loss.lambda_tv` is positive, and the geometry has no total
                variation.
            NonFiniteError: The loss is NaN or infinite.
        """
        if "rays" in batch:
            self.guidance.begin_round(batch["round"], self._rendered(batch), self.prompt_processor())
            batch = chosen_rays(batch)
        output = super().training_step(batch, batch_idx)
        weight = self.C(self.cfg.loss.get("lambda_tv", 0.0))
        if weight > 0:
            output["loss"] = output["loss"] + weight * self._total_variation()
        require_finite(f"loss at step {self.true_global_step}", output["loss"], NAN_HINT)
        return output

    @torch.no_grad()
    def _rendered(self, batch: dict[str, Any]) -> Iterator[tuple[torch.Tensor, dict[str, Any]]]:
        """Render the batch's views, `at_once` at a time: colours, and their part of the
        batch.
        """
        cameras = {k: v for k, v in batch.items() if isinstance(v, torch.Tensor) and k != "rays"}
        for rows in torch.arange(len(batch["index"])).split(batch["at_once"]):
            part = {**batch, **{name: value[rows] for name, value in cameras.items()}}
            yield super().forward(part)["comp_rgb"], part

    def _total_variation(self) -> torch.Tensor:
        require_total_variation(self.geometry, self.cfg.geometry_type)
        value = self.geometry.total_variation()
        self.log("train/loss_tv", value)
        return value

    def on_fit_start(self) -> None:
        """Restore the guidance's state from the checkpoint, if it has one: some systems
        make their guidance only here.
        """
        super().on_fit_start()
        state = self.__dict__.pop("_guidance_state", None)
        if state is not None and hasattr(self.guidance, "load_checkpoint_state"):
            self.guidance.load_checkpoint_state(state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the guidance's own state to a checkpoint, under the key `guidance`, if it
        has one.
        """
        if hasattr(getattr(self, "guidance", None), "checkpoint_state"):
            checkpoint["guidance"] = collected(self.guidance.checkpoint_state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._guidance_state = checkpoint.get("guidance")


def chosen_rays(batch: dict[str, Any]) -> dict[str, Any]:
    """Choose the batch's `rays` among its views' pixels: N images of one pixel each,
    `[N, 1, 1, 3]`.
    """
    _, height, width = batch["rays_o"].shape[:3]
    rays = batch["rays"]
    chosen = {name: batch[name].flatten(0, 2)[rays][:, None, None] for name in ("rays_o", "rays_d")}
    lights = batch["light_positions"][rays // (height * width)]
    return {**batch, **chosen, "light_positions": lights, "height": 1, "width": 1}
