"""Base classes of training systems."""

from dataclasses import dataclass, field
from typing import Any

import threestudio
from omegaconf import DictConfig
from threestudio.systems.utils import parse_optimizer, parse_scheduler
from threestudio.utils.base import Updateable, update_end_if_possible, update_if_possible
from threestudio.utils.config import ConfigError, parse_structured
from threestudio.utils.lightning import LightningModule
from threestudio.utils.misc import C, cleanup, find_last_path, load_module_weights
from threestudio.utils.saving import SaverMixin


class BaseSystem(LightningModule, Updateable, SaverMixin):
    """A Lightning module that is built from a config and tells everything it holds
    about each step.
    """

    @dataclass
    class Config:
        loggers: dict = field(default_factory=dict)
        loss: dict = field(default_factory=dict)  # lambda_x weighs loss_x
        optimizer: dict = field(default_factory=dict)
        scheduler: dict | None = None
        weights: str | None = None  # a checkpoint to start from
        weights_ignore_modules: list[str] | None = None
        cleanup_after_validation_step: bool = False
        cleanup_after_test_step: bool = False

    cfg: Config

    def __init__(self, cfg: dict | DictConfig, resumed: bool = False) -> None:
        super().__init__()
        self.cfg = parse_structured(self.Config, cfg)
        self._save_dir: str | None = None
        self._resumed = resumed
        self._evaluated_at: tuple[int, int] | None = None
        self.create_loggers(self.cfg.loggers)

        self.configure()
        if self.cfg.weights is not None:
            self.load_weights(self.cfg.weights, self.cfg.weights_ignore_modules)
        self.post_configure()

    def load_weights(self, weights: str, ignore_modules: list[str] | None = None) -> None:
        """Load a checkpoint's weights, and bring everything to its step.

        Raises:
            ConfigError: The weights are another model's.
        """
        state_dict, epoch, global_step = load_module_weights(
            weights, ignore_modules=ignore_modules, map_location="cpu"
        )
        try:
            unknown = self.load_state_dict(state_dict, strict=False).unexpected_keys
        except RuntimeError as error:  # other shapes
            reason = str(error).strip().splitlines()[-1].strip()
            raise ConfigError(f"system.weights: {weights} is another model's: {reason}") from error
        if state_dict and len(unknown) == len(state_dict):
            raise ConfigError(
                f"system.weights: {weights} is another model's: nothing in it has a name known here"
            )
        self.do_update_step(epoch, global_step, on_load_weights=True)

    def set_resume_status(self, current_epoch: int, global_step: int) -> None:
        """Say which step is evaluated, where Lightning does not restore it (validation
        and test).
        """
        self._evaluated_at = (current_epoch, global_step)

    @property
    def resumed(self) -> bool:
        return self._resumed

    @property
    def true_current_epoch(self) -> int:
        """The epoch, also when a checkpoint is only evaluated."""
        return self.current_epoch if self._evaluated_at is None else self._evaluated_at[0]

    @property
    def true_global_step(self) -> int:
        """The step, also when a checkpoint is only evaluated."""
        return self.global_step if self._evaluated_at is None else self._evaluated_at[1]

    def configure(self) -> None:
        """Hook: build what the system needs."""

    def post_configure(self) -> None:
        """Hook: after weights were loaded."""

    def C(self, value: Any) -> float:
        return C(value, self.true_current_epoch, self.true_global_step)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = parse_optimizer(self.cfg.optimizer, self)
        if self.cfg.scheduler is None:
            return {"optimizer": optimizer}
        return {"optimizer": optimizer, "lr_scheduler": parse_scheduler(self.cfg.scheduler, optimizer)}

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        raise NotImplementedError

    def preprocess_data(self, batch: Any, stage: str) -> None:
        """Hook: change a batch in place before it is used."""

    def _begin_step(self, dataset: Any, batch: Any, stage: str) -> None:
        self.preprocess_data(batch, stage)
        self.dataset = dataset
        update_if_possible(dataset, self.true_current_epoch, self.true_global_step)
        self.do_update_step(self.true_current_epoch, self.true_global_step)

    def _end_step(self, dataset: Any, clean: bool) -> None:
        self.dataset = dataset
        update_end_if_possible(dataset, self.true_current_epoch, self.true_global_step)
        self.do_update_step_end(self.true_current_epoch, self.true_global_step)
        if clean:
            cleanup()

    def on_train_batch_start(self, batch: Any, batch_idx: int, unused: int = 0) -> None:
        self._begin_step(self.trainer.train_dataloader.dataset, batch, "train")

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._begin_step(self.trainer.val_dataloaders.dataset, batch, "validation")

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._begin_step(self.trainer.test_dataloaders.dataset, batch, "test")

    def on_predict_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._begin_step(self.trainer.predict_dataloaders.dataset, batch, "predict")

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_step(self.trainer.train_dataloader.dataset, clean=False)

    def on_validation_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_step(self.trainer.val_dataloaders.dataset, self.cfg.cleanup_after_validation_step)

    def on_test_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_step(self.trainer.test_dataloaders.dataset, self.cfg.cleanup_after_test_step)

    def on_predict_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_step(self.trainer.predict_dataloaders.dataset, self.cfg.cleanup_after_test_step)


class BaseLift3DSystem(BaseSystem):
    """A system that lifts a 2D prior: geometry, material, background, renderer, and the
    prior's guidance.
    """

    @dataclass
    class Config(BaseSystem.Config):
        geometry_type: str = ""
        geometry: dict = field(default_factory=dict)

        material_type: str = ""
        material: dict = field(default_factory=dict)

        background_type: str = ""
        background: dict = field(default_factory=dict)

        renderer_type: str = ""
        renderer: dict = field(default_factory=dict)

        guidance_type: str = ""
        guidance: dict = field(default_factory=dict)

        prompt_processor_type: str = ""
        prompt_processor: dict = field(default_factory=dict)

        exporter_type: str = "mesh-exporter"  # only --export looks for it
        exporter: dict = field(default_factory=dict)

    cfg: Config

    def configure(self) -> None:
        self.cfg.weights = find_last_path(self.cfg.weights)
        self.geometry = threestudio.find(self.cfg.geometry_type)(self.cfg.geometry)
        self.material = threestudio.find(self.cfg.material_type)(self.cfg.material)
        self.background = threestudio.find(self.cfg.background_type)(self.cfg.background)
        self.renderer = threestudio.find(self.cfg.renderer_type)(self.cfg.renderer, **self._scene())

    def _scene(self) -> dict[str, Any]:
        return {"geometry": self.geometry, "material": self.material, "background": self.background}

    def on_fit_start(self) -> None:
        if self._save_dir is None:
            threestudio.warn(
                "Saving directory not set for the system, visualization results will not be saved"
            )
        else:
            threestudio.info(f"Validation results will be saved to {self._save_dir}")

    def on_test_end(self) -> None:
        if self._save_dir is not None:
            threestudio.info(f"Test results saved to {self._save_dir}")

    def on_predict_start(self) -> None:
        self.exporter = threestudio.find(self.cfg.exporter_type)(self.cfg.exporter, **self._scene())

    def predict_step(self, batch: Any, batch_idx: int) -> None:
        if self.exporter.cfg.save_video:
            self.test_step(batch, batch_idx)

    def on_predict_epoch_end(self) -> None:
        """Export: each output is written by the `save_TYPE` method that it names.

        Raises:
            ValueError: There is no such method.
        """
        if self.exporter.cfg.save_video:
            self.on_test_epoch_end()
        threestudio.info("Extracting and texturing the mesh ...")
        for out in self.exporter():
            save = getattr(self, f"save_{out.save_type}", None)
            if save is None:
                raise ValueError(f"save_{out.save_type} not supported by the SaverMixin")
            save(f"it{self.true_global_step}-export/{out.save_name}", **out.params)

    def on_predict_end(self) -> None:
        if self._save_dir is not None:
            threestudio.info(f"Export assets saved to {self._save_dir}")
