"""Everything that a system writes goes through `SaverMixin`, into one folder."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from threestudio.utils.files import atomic_path
from threestudio.utils.images import rgb_picture, row_picture

VIDEO_OPTIONS: dict[str, Callable[[int], dict[str, Any]]] = {
    # even sides are all that the codec asks for; imageio would round up to multiples of 16
    "mp4": lambda fps: {"fps": fps, "macro_block_size": 2},
    "gif": lambda fps: {"duration": 1000 / fps, "loop": 0},
}


class SaverMixin:
    """Writes pictures, videos and meshes below one folder, each file whole or not at
    all.

    Arrays may be tensors or numpy arrays. File names are relative to the folder.
    Methods return the path written. With a `name`, pictures are also sent to Weights &
    Biases where that is enabled, at `step`.
    """

    _save_dir: str | None = None
    _wandb_logger: Any = None

    def set_save_dir(self, save_dir: str) -> None:
        """Choose the folder; it is created with the first file."""
        self._save_dir = save_dir

    def get_save_dir(self) -> str:
        """The folder.

        Raises:
            ValueError: None was chosen.
        """
        if self._save_dir is None:
            raise ValueError("Save dir is not set")
        return self._save_dir

    def get_save_path(self, filename: str) -> str:
        """The path of a file in the folder; folders in between are created.

        Raises:
            ValueError: The name leads out of the folder.
        """
        root = os.path.realpath(self.get_save_dir())
        path = os.path.join(self.get_save_dir(), filename)
        if os.path.commonpath([root, os.path.realpath(path)]) != root:
            raise ValueError(f"'{filename}' leads out of the save dir")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def convert_data(self, data: Any) -> Any:
        """Tensors, also inside lists and dicts, as numpy arrays.

        Raises:
            TypeError: There is something else in it.
        """
        if data is None or isinstance(data, np.ndarray):
            return data
        if isinstance(data, torch.Tensor):
            data = data.detach().cpu()
            return (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        if isinstance(data, list):
            return [self.convert_data(item) for item in data]
        if isinstance(data, dict):
            return {key: self.convert_data(value) for key, value in data.items()}
        raise TypeError(
            f"cannot save {type(data).__name__}: only arrays, tensors, and lists and dicts of them"
        )

    def create_loggers(self, cfg_loggers: DictConfig) -> None:
        wandb = cfg_loggers.get("wandb")
        if wandb is not None and wandb.enable:
            from pytorch_lightning.loggers import WandbLogger  # loads Lightning

            self._wandb_logger = WandbLogger(project=wandb.project, name=wandb.name)

    def get_loggers(self) -> list[Any]:
        """List the loggers that the config asks for, beside those that every run
        has.
        """
        return [self._wandb_logger] if self._wandb_logger else []

    def save_rgb_image(
        self,
        filename: str,
        img: Any,
        data_format: str = "HWC",
        data_range: Sequence[float] = (0, 1),
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        """Save colours; see `rgb_picture`."""
        return self._write(filename, rgb_picture(self.convert_data(img), data_format, data_range), name, step)

    def save_image_grid(
        self, filename: str, imgs: list[dict[str, Any]], name: str | None = None, step: int | None = None
    ) -> str:
        """Save pictures of one height side by side.

        Args:
            filename: The PNG in the folder.
            imgs: Items `{"type": "rgb" | "grayscale", "img": array, "kwargs": {...}}`;
                the keywords are those of `rgb_picture` and `grayscale_picture`.
            name: Its name in Weights & Biases.
            step: Its step there.
        """
        items = [{**item, "img": self.convert_data(item["img"])} for item in imgs]
        return self._write(filename, row_picture(items), name, step)

    def _write(self, filename: str, img: np.ndarray, name: str | None, step: int | None) -> str:
        path = self.get_save_path(filename)
        with atomic_path(path) as temporary:
            Image.fromarray(img).save(temporary)
        if name and self._wandb_logger:
            self._wandb_logger.log_image(key=name, images=[path], step=step)
        return path

    def save_img_sequence(
        self,
        filename: str,
        img_dir: str,
        matcher: str,
        save_format: str = "mp4",
        fps: int = 30,
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        r"""Save a folder's pictures as a video.

        Args:
            filename: The video in the folder; the format is appended if it is missing.
            img_dir: The pictures' folder, relative to the save dir.
            matcher: A regular expression whose first group is a picture's number, such
                as r"(\d+)\.png".
            save_format: A key of `VIDEO_OPTIONS`.
            fps: Pictures per second.
            name: Its name in Weights & Biases.
            step: Its step there.

        Raises:
            ValueError: The format is unknown.
            FileNotFoundError: No picture matches.
        """
        import imageio.v2 as imageio  # only videos need it

        if save_format not in VIDEO_OPTIONS:
            raise ValueError(f"unknown video format '{save_format}': only {' and '.join(VIDEO_OPTIONS)}")
        path = self.get_save_path(filename if filename.endswith(save_format) else f"{filename}.{save_format}")
        files = _numbered(os.path.join(self.get_save_dir(), img_dir), matcher)
        frames = [np.asarray(Image.open(file).convert("RGB")) for file in files]
        with atomic_path(path) as temporary:
            imageio.mimsave(temporary, frames, format=save_format, **VIDEO_OPTIONS[save_format](fps))
        if name and self._wandb_logger:
            self._wandb_logger.log_video(key=name, videos=[path], step=step)
        return path

    def save_file(self, filename: str, src_path: str) -> str:
        """Save a copy of a file."""
        path = self.get_save_path(filename)
        with atomic_path(path) as temporary:
            shutil.copyfile(src_path, temporary)
        return path


def _numbered(folder: str, matcher: str) -> list[str]:
    """List a folder's files by the number in their names."""
    found = [(re.search(matcher, name), name) for name in os.listdir(folder) if not name.startswith(".")]
    files = sorted((int(match.group(1)), os.path.join(folder, name)) for match, name in found if match)
    if not files:
        raise FileNotFoundError(f"no picture in {folder} matches {matcher}")
    return [file for _, file in files]
