"""Everything that a system writes goes through `SaverMixin`, into one folder."""

import io
import os
import re
from collections.abc import Sequence
from typing import Any

import imageio.v2 as imageio
import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from threestudio.utils import images
from threestudio.utils.files import atomic_path


class SaverMixin:
    """Writes pictures, videos and meshes below one folder, each file whole or not at all.

    Arrays may be tensors or numpy arrays. File names are relative to the folder. Methods return the path
    written. With a `name`, pictures are also sent to Weights & Biases where that is enabled, at `step`.
    """

    _save_dir: str | None = None
    _wandb_logger: Any = None

    DEFAULT_RGB_KWARGS = images.RGB_DEFAULTS
    DEFAULT_GRAYSCALE_KWARGS = images.GRAYSCALE_DEFAULTS
    DEFAULT_GRID_KWARGS = {"align": "max"}  # noqa: RUF012  (threestudio's name; never changed)

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
            from pytorch_lightning.loggers import WandbLogger  # a second to import

            self._wandb_logger = WandbLogger(project=wandb.project, name=wandb.name)

    def get_loggers(self) -> list[Any]:
        """The loggers that the config asks for, beside those that every run has."""
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
        """Save colours; `data_range` is mapped to black and white."""
        return self._write(
            filename, images.rgb_picture(self.convert_data(img), data_format, data_range), name, step
        )

    def save_grayscale_image(
        self,
        filename: str,
        img: Any,
        data_range: Sequence[float] | None = None,
        cmap: str | None = "jet",
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        """Save one value per pixel [H, W]; `data_range` None stretches the values that occur."""
        return self._write(
            filename, images.grayscale_picture(self.convert_data(img), data_range, cmap), name, step
        )

    def save_image_grid(
        self,
        filename: str,
        imgs: list,
        align: str | int | tuple[int, int] = "max",
        name: str | None = None,
        step: int | None = None,
        texts: Sequence[Any] | None = None,
    ) -> str:
        """Save pictures side by side.

        Args:
            filename: Where.
            imgs: Items `{"type": "rgb" | "grayscale", "img": array, "kwargs": {...}}`, or rows of
                them; the keywords are those of `save_rgb_image` and `save_grayscale_image`.
            align: The size that pictures are scaled to: "max", "min", a number of pixels or (height, width).
            name: What Weights & Biases calls it.
            step: The step it belongs to.
            texts: Written down the left edge.
        """
        grid = images.grid_picture(self._convert_items(imgs), align)
        return self._write(filename, grid if texts is None else images.write_texts(grid, texts), name, step)

    def _convert_items(self, items: list) -> list:
        if isinstance(items[0], list):
            return [self._convert_items(row) for row in items]
        return [{**item, "img": self.convert_data(item["img"])} for item in items]

    def _write(self, filename: str, img: np.ndarray, name: str | None = None, step: int | None = None) -> str:
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
            filename: Where; the format is appended if it is missing.
            img_dir: The pictures' folder, relative to the save dir.
            matcher: A regular expression whose first group is a picture's number, such as r"(\d+)\.png".
            save_format: "mp4" or "gif".
            fps: Pictures per second.
            name: What Weights & Biases calls it.
            step: The step it belongs to.

        Raises:
            ValueError: The format is unknown.
            FileNotFoundError: No picture matches.
        """
        if save_format not in ("mp4", "gif"):
            raise ValueError(f"unknown video format '{save_format}': only mp4 and gif")
        path = self.get_save_path(filename if filename.endswith(save_format) else f"{filename}.{save_format}")
        folder = os.path.join(self.get_save_dir(), img_dir)
        found = [(re.search(matcher, f), f) for f in os.listdir(folder) if not f.startswith(".")]
        files = [f for _, f in sorted((int(match.group(1)), f) for match, f in found if match)]
        if not files:
            raise FileNotFoundError(f"no picture in {folder} matches {matcher}")
        frames = [np.asarray(Image.open(os.path.join(folder, f)).convert("RGB")) for f in files]
        # even sides are all that the codec asks for; imageio would round up to multiples of 16
        options = (
            {"fps": fps, "macro_block_size": 2}
            if save_format == "mp4"
            else {"duration": 1000 / fps, "loop": 0}
        )
        with atomic_path(path) as temporary:
            imageio.mimsave(temporary, frames, format=save_format, **options)
        if name and self._wandb_logger:
            self._wandb_logger.log_video(key=name, videos=[path], step=step)
        return path

    def save_mesh_file(
        self, filename: str, mesh: Any, save_normal: bool = False, texture_format: str = "jpg"
    ) -> str:
        """Save a `threestudio.models.mesh.Mesh` as the suffix says, .obj or .glb.

        It has its texture, which lies beside an .obj with the .mtl that names it, or the colours of its
        vertices.
        """
        import trimesh

        path, normals = self.get_save_path(filename), self.convert_data(mesh.v_nrm) if save_normal else None
        shape = trimesh.Trimesh(
            self.convert_data(mesh.v_pos),
            self.convert_data(mesh.t_pos_idx),
            vertex_colors=None if mesh.v_rgb is None else _eight_bits(self.convert_data(mesh.v_rgb)),
            vertex_normals=normals,
            process=False,
        )
        kind = os.path.splitext(path)[1][1:]
        if mesh.texture is not None:
            shape.visual = _textured(mesh, self.convert_data)
        if kind == "obj" and mesh.texture is not None:
            parts = _obj_parts(shape, os.path.splitext(os.path.basename(path))[0], texture_format)
        else:
            data = shape.export(file_type=kind)
            parts = {os.path.basename(path): data.encode() if isinstance(data, str) else data}
        for name, content in parts.items():
            with atomic_path(os.path.join(os.path.dirname(path), name)) as aside, open(aside, "wb") as file:
                file.write(content)
        return path


def _eight_bits(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


def _textured(mesh: Any, convert: Any) -> Any:
    """trimesh's visual of a mesh with a texture."""
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    image = Image.fromarray(_eight_bits(convert(mesh.texture)))
    material = PBRMaterial(baseColorTexture=image, metallicFactor=0.0, roughnessFactor=1.0)
    return TextureVisuals(uv=convert(mesh.uv), material=material)


def _obj_parts(shape: Any, stem: str, texture_format: str) -> dict[str, bytes]:
    """The picture, `STEM.mtl`, which names it, and `STEM.obj`, which names that."""
    from trimesh.exchange.obj import export_obj

    picture, name = io.BytesIO(), f"{stem}_kd.{texture_format}"
    image = shape.visual.material.baseColorTexture
    image.save(picture, "JPEG" if texture_format == "jpg" else "PNG", quality=95)
    shape.visual.material.name = stem
    mtl = f"newmtl {stem}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nmap_Kd {name}\n"
    text = export_obj(shape, mtl_name=f"{stem}.mtl", header=None)
    return {name: picture.getvalue(), f"{stem}.mtl": mtl.encode(), f"{stem}.obj": text.encode()}
