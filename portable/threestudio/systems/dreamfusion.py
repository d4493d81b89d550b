"""`dreamfusion-system`: a scene whose renders a guidance judges."""

from errno import EDQUOT, EIO, ENOSPC, EROFS
from typing import Any

import threestudio
import torch
from threestudio.systems.base import BaseLift3DSystem
from threestudio.utils.config import ConfigError
from threestudio.utils.misc import barrier
from threestudio.utils.ops import binary_cross_entropy, dot
from torch import Tensor


class SceneSystem(BaseLift3DSystem):
    """Base of DreamFusion's and ProlificDreamer's systems: losses, pictures and the
    video.
    """

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        return self.renderer(**batch)

    def guided_loss(self, guidance_out: dict[str, Any]) -> Any:
        """Log what a guidance returns, and weigh its losses.

        Raises:
            ConfigError: A loss has no weight.
        """
        loss: Any = 0.0
        for name, value in guidance_out.items():
            number = value.detach() if isinstance(value, Tensor) else value
            if isinstance(number, (int, float)) or (isinstance(number, Tensor) and number.numel() == 1):
                self.log(f"train/{name}", float(number))
            if name.startswith("loss_"):
                loss = loss + value * self.C(self._lambda(name.removeprefix("loss_")))
        return loss

    def _lambda(self, name: str) -> Any:
        if f"lambda_{name}" not in self.cfg.loss:
            raise ConfigError(f"system.loss.lambda_{name}: no value is given")
        return self.cfg.loss[f"lambda_{name}"]

    def scene_loss(self, out: dict[str, Tensor]) -> Any:
        """Regularisers of the render: orientation, sparsity, opaqueness, and, where
        given, z-variance.
        """
        opacity = out["opacity"]
        clamped = opacity.clamp(1e-3, 1 - 1e-3)
        losses = {
            "sparsity": lambda: (opacity**2 + 0.01).sqrt().mean(),
            "opaque": lambda: binary_cross_entropy(clamped, clamped),
            "orient": lambda: self._orientation(out),
        }
        if "lambda_z_variance" in self.cfg.loss and (opacity > 0.5).any():
            losses["z_variance"] = lambda: out["z_variance"][opacity > 0.5].mean()
        total: Any = 0.0
        for name, compute in losses.items():
            weight = self.C(self._lambda(name))
            if weight > 0:  # one that is off costs nothing
                value = compute()
                self.log(f"train/loss_{name}", value)
                total = total + value * weight
        for name, value in self.cfg.loss.items():
            self.log(f"train_params/{name}", self.C(value))
        return total

    @staticmethod
    def _orientation(out: dict[str, Tensor]) -> Tensor:
        if "normal" not in out:
            raise ConfigError("system.loss.lambda_orient is positive, but the material needs no normals")
        away = dot(out["normal"], out["t_dirs"]).clamp(min=0) ** 2
        return (out["weights"].detach() * away).sum() / (out["opacity"] > 0).sum().clamp(min=1)

    def save_view(self, filename: str, batch: dict[str, Any], name: str) -> None:
        """Render one view and save colour, normal (if it has one) and opacity side by
        side.
        """
        out = self(batch)
        row = [{"type": "rgb", "img": out[key][0]} for key in ("comp_rgb", "comp_normal") if key in out]
        row.append({"type": "grayscale", "img": out["opacity"][0, :, :, 0], "kwargs": {"data_range": (0, 1)}})
        self.save_image_grid(filename, row, name=name, step=self.true_global_step)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.save_view(f"it{self.true_global_step}-{int(batch['index'][0])}.png", batch, "validation_step")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.save_view(f"it{self.true_global_step}-test/{int(batch['index'][0])}.png", batch, "test_step")

    def on_test_epoch_end(self) -> None:
        """Make the video, once all processes have saved their views.

        An ffmpeg that is missing or broken costs nothing else.
        """
        barrier()
        if not self.trainer.is_global_zero:
            return
        folder, step = f"it{self.true_global_step}-test", self.true_global_step
        try:
            self.save_img_sequence(
                folder, folder, r"(\d+)\.png", save_format="mp4", fps=30, name="test", step=step
            )
        except Exception as error:  # imageio's and ffmpeg's share no base
            if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT, EROFS, EIO):
                raise
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            threestudio.warn(f"{folder}.mp4 is not made: {reason}; pip install 'imageio[ffmpeg]'")


@threestudio.register("dreamfusion-system")
class DreamFusion(SceneSystem):
    """Text to 3D; prompt and guidance are only made for training."""

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.prompt_processor = threestudio.find(self.cfg.prompt_processor_type)(self.cfg.prompt_processor)
        self.guidance = threestudio.find(self.cfg.guidance_type)(self.cfg.guidance)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, torch.Tensor]:
        out = self(batch)
        guidance_out = self.guidance(out["comp_rgb"], self.prompt_processor(), **batch, rgb_as_latents=False)
        return {"loss": self.guided_loss(guidance_out) + self.scene_loss(out)}
