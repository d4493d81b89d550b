"""`msd-scene`: a mixin for threestudio's text-to-3D systems, `dreamfusion-system:msd-scene`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import threestudio
import torch

from ..distillation.tensors import require_finite
from ..errors import UserError
from ..processes import collected
from .experiment import check_scene_experiment

NAN_HINT = "Lower system.optimizer's learning rate or the guidance scale; the last checkpoint is intact."


@threestudio.register("msd-scene")
class SceneMixin:
    """Adds to a text-to-3D system: total variation, a stop at NaN, and the guidance's state in checkpoints.

    Total variation is weighed by the scheduled scalar `loss.lambda_tv`; where that is 0 or missing it costs
    nothing.
    """

    @classmethod
    def check_experiment(cls, settings: Mapping[str, Any]) -> None:
        """Check what concerns more than one block of an experiment's settings.

        Raises:
            UserError: What is wrong.
        """
        check_scene_experiment(settings)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        """The system's loss, regularised.

        Raises:
            UserError: If the geometry has no total variation, and it is asked for.
            NonFiniteError: If the loss is NaN or infinite.
        """
        output = super().training_step(batch, batch_idx)
        weight = self.C(self.cfg.loss.get("lambda_tv", 0.0))
        if weight > 0:
            output["loss"] = output["loss"] + weight * self._total_variation()
        require_finite(f"loss at step {self.true_global_step}", output["loss"], NAN_HINT)
        return output

    def _total_variation(self) -> torch.Tensor:
        if not hasattr(self.geometry, "total_variation"):
            raise UserError(
                f"system.loss.lambda_tv: {self.cfg.geometry_type} has no total variation, "
                "msd-multiscale-grid has"
            )
        value = self.geometry.total_variation()
        self.log("train/loss_tv", value)
        return value

    def on_fit_start(self) -> None:
        """Give the guidance back what a checkpoint kept for it: some systems only make it here."""
        super().on_fit_start()
        state = self.__dict__.pop("_guidance_state", None)
        if state is not None and hasattr(self.guidance, "load_checkpoint_state"):
            self.guidance.load_checkpoint_state(state)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what the guidance needs to go on beside its parameters, if it says so."""
        if hasattr(getattr(self, "guidance", None), "checkpoint_state"):
            checkpoint["guidance"] = collected(self.guidance.checkpoint_state())

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep it until there is a guidance."""
        self._guidance_state = checkpoint.get("guidance")
