"""`prolificdreamer-system`: the coarse stage, with a guidance that is trained along."""

from dataclasses import dataclass
from typing import Any

import threestudio
from threestudio.systems.dreamfusion import SceneSystem
from torch import Tensor


@threestudio.register("prolificdreamer-system")
class ProlificDreamer(SceneSystem):
    """Text to 3D; the guidance is part of the system, so that its own networks are
    trained and saved.
    """

    @dataclass
    class Config(SceneSystem.Config):
        stage: str = "coarse"  # threestudio's others, geometry and texture, need a rasteriser
        visualize_samples: bool = False  # not supported

        def __post_init__(self) -> None:
            if self.stage != "coarse":
                raise ValueError(f"stage must be coarse on the portable host, got {self.stage!r}")

    cfg: Config

    def configure(self) -> None:
        super().configure()
        self.guidance = threestudio.find(self.cfg.guidance_type)(self.cfg.guidance)
        self.prompt_processor = threestudio.find(self.cfg.prompt_processor_type)(self.cfg.prompt_processor)
        self.prompt_utils = self.prompt_processor()

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        out = self(batch)
        guidance_out = self.guidance(out["comp_rgb"], self.prompt_utils, **batch, rgb_as_latents=False)
        return {"loss": self.guided_loss(guidance_out) + self.scene_loss(out)}
