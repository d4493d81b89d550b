"""`--viewer`: a page in the browser that shows the scene from the browser's own camera while it trains."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from pytorch_lightning.callbacks import Callback
from threestudio_msd.errors import UserError, install
from torch import Tensor

from launcher.bar import figure

SHOWN = ("colour", "normal", "opacity", "depth")
SCALARS = ("loss", "loss_msd", "loss_sds", "loss_sdi", "loss_vsd", "bandwidth", "shift_norm", "nfe")
WIDEST = 16.0  # bandwidth of the slider
SHARE = 0.2  # of the time that pictures may take while it trains
NEAR, FAR = 0.01, 100.0


@dataclass(frozen=True)
class Look:
    """A browser's camera: x to the right, y down, z ahead.

    Attributes:
        wxyz: Its rotation into the world, a unit quaternion.
        position: In the world.
        fov: Vertical field of view, radians.
        aspect: Width by height.
    """

    wxyz: tuple[float, ...]
    position: tuple[float, ...]
    fov: float
    aspect: float


class Page(Protocol):
    """What a viewer asks of a page.

    Attributes:
        paused: Whether training waits.
        shown: One of `SHOWN`.
        height: Of a picture, in pixels.
        held: The bandwidth that is to be kept, None where the schedule goes on.
    """

    paused: bool
    shown: str
    height: int
    held: float | None

    def looks(self) -> dict[int, Look]:
        """The connected browsers' cameras, by client."""

    def show(self, client: int, picture: np.ndarray) -> None:
        """Put a picture `[H, W, 3]`, uint8, behind a browser's scene."""

    def tell(self, figures: dict[str, float]) -> None:
        """Show step, loss and bandwidth."""

    def close(self) -> None:
        """End it."""


class Viewer(Callback):
    """Draws the scene for every browser between two steps.

    Args:
        open_page: Makes the page; it is told where a new browser's camera begins, and whether there is a
            bandwidth to hold.
        stopping: Whether the run has been asked to end, which ends a pause too.
    """

    def __init__(
        self,
        open_page: Callable[[tuple[float, float, float], bool], Page],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._open, self._stopping = open_page, stopping
        self._page: Page | None = None
        self._seen: dict[int, tuple[Any, ...]] = {}
        self._free_from = 0.0
        self._held: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Open the page, in the first process.

        Raises:
            UserError: The system renders no rays.
        """
        if not hasattr(pl_module, "renderer"):
            raise UserError("--viewer: this system has no scene that is rendered from rays")
        if trainer.is_global_zero:
            can_hold = hasattr(getattr(pl_module, "guidance", None), "hold_bandwidth")
            self._page = self._open(start_of(trainer.datamodule), can_hold)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *args: Any) -> None:
        page = self._page
        if page is None:
            return
        page.tell({"step": trainer.global_step, **scalars(trainer)})
        while True:
            self._hold(pl_module, page.held)
            if page.paused or time.monotonic() >= self._free_from:
                self._draw(pl_module, page, trainer.global_step)
            if not page.paused or self._stopping():
                return
            time.sleep(0.02)

    def _hold(self, system: Any, bandwidth: float | None) -> None:
        if bandwidth != self._held:
            self._held = bandwidth
            system.guidance.hold_bandwidth(bandwidth)

    def _draw(self, system: Any, page: Page, step: int) -> None:
        """A new picture for every browser whose last one is out of date."""
        start = time.monotonic()
        for client, look in page.looks().items():
            wanted = (look, page.shown, page.height, step)
            if self._seen.get(client) != wanted:
                page.show(client, picture(system, look, page.shown, page.height))
                self._seen[client] = wanted
        now = time.monotonic()
        self._free_from = now + (now - start) * (1 / SHARE - 1)

    def _close(self, *args: Any) -> None:
        if self._page is not None:
            self._page.close()
            self._page = None

    on_train_end = on_exception = _close


def start_of(data: Any) -> tuple[float, float, float]:
    """Where a browser's camera begins: where the turntable's does, or at some distance."""
    cfg = getattr(data, "cfg", None)
    distance = float(getattr(cfg, "eval_camera_distance", 2.5))
    elevation = np.deg2rad(float(getattr(cfg, "eval_elevation_deg", 15.0)))
    return distance * float(np.cos(elevation)), 0.0, distance * float(np.sin(elevation))


def scalars(trainer: pl.Trainer) -> dict[str, float]:
    """What the systems log of the figures in `SCALARS`."""
    logged = trainer.callback_metrics
    return {name: float(logged[f"train/{name}"]) for name in SCALARS if f"train/{name}" in logged}


def camera_to_world(look: Look) -> Tensor:
    """In threestudio's axes (x to the right, y up, z back), `[4, 4]`."""
    w, x, y, z = look.wxyz
    rotation = torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = torch.eye(4)
    matrix[:3, :3] = rotation * torch.tensor([1.0, -1.0, -1.0])
    matrix[:3, 3] = torch.tensor(look.position)
    return matrix


def batch_of(look: Look, height: int, device: Any) -> dict[str, Any]:
    """A browser's camera as a batch of one view, as threestudio's camera data modules make them."""
    from threestudio.utils.ops import get_mvp_matrix, get_projection_matrix, get_ray_directions, get_rays

    width = max(1, round(height * look.aspect))
    c2w, fovy = camera_to_world(look)[None], torch.tensor([look.fov])
    directions = get_ray_directions(height, width, 0.5 * height / float(np.tan(0.5 * look.fov)))[None]
    rays_o, rays_d = get_rays(directions, c2w, keepdim=True)
    projection = get_projection_matrix(fovy, width / height, NEAR, FAR)
    position = c2w[:, :3, 3]
    x, y, z = position.unbind(-1)
    batch = {
        "rays_o": rays_o,
        "rays_d": F.normalize(rays_d, dim=-1),
        "c2w": c2w,
        "fovy": fovy,
        "proj_mtx": projection,
        "mvp_mtx": get_mvp_matrix(c2w, projection),
        "camera_positions": position,
        "light_positions": position,
        "elevation": torch.rad2deg(torch.atan2(z, torch.hypot(x, y))),
        "azimuth": torch.rad2deg(torch.atan2(y, x)),
        "camera_distances": position.norm(dim=-1),
        "index": torch.zeros(1, dtype=torch.long),
    }
    return {**{name: value.to(device) for name, value in batch.items()}, "height": height, "width": width}


@torch.no_grad()
def picture(system: Any, look: Look, shown: str, height: int) -> np.ndarray:
    """The scene as a browser sees it, `[height, W, 3]`, uint8; the system goes on as if nothing was drawn."""
    batch = batch_of(look, height, next(system.geometry.parameters()).device)
    names = ("geometry", "material", "background", "renderer")
    modes = {name: getattr(system, name).training for name in names}
    try:
        for name in names:
            getattr(system, name).eval()
        out = system(batch)
    finally:
        for name, mode in modes.items():
            getattr(system, name).train(mode)
    return (255 * pixels(out, batch, shown)).round().to(torch.uint8).cpu().numpy()


def pixels(out: dict[str, Tensor], batch: dict[str, Any], shown: str) -> Tensor:
    """One of `SHOWN` in [0, 1], `[H, W, 3]`, from what a renderer returns."""
    opacity = out["opacity"][0].float()
    if shown == "colour":
        return out["comp_rgb"][0, ..., :3].float().clamp(0, 1)
    if shown == "opacity":
        return opacity.clamp(0, 1).expand(-1, -1, 3)
    if shown == "normal" and "comp_normal" in out:
        return out["comp_normal"][0].float().clamp(0, 1)
    depth = out["depth"][0].float() / opacity.clamp(min=1e-5)
    if shown == "normal":
        return (normals(batch, depth) + 1) / 2 * opacity
    surface = depth[opacity > 0.5]
    low, high = (surface.min(), surface.max()) if len(surface) else (depth.min(), depth.max())
    near = 1 - (depth - low) / (high - low).clamp(min=1e-6)
    colours = colormaps["turbo"](near[..., 0].clamp(0, 1).cpu().numpy())[..., :3]
    return torch.from_numpy(colours).to(opacity) * opacity


def normals(batch: dict[str, Any], depth: Tensor) -> Tensor:
    """Of the surface at depths `[H, W, 1]` along a batch's rays, towards the camera, `[H, W, 3]`."""
    points = (batch["rays_o"][0] + depth * batch["rays_d"][0]).permute(2, 0, 1)[None]
    right, down = (F.pad(points, (1, 1, 1, 1), mode="replicate").diff(dim=dim) for dim in (3, 2))
    right = (right[..., 1:-1, 1:] + right[..., 1:-1, :-1])[0]
    down = (down[..., 1:, 1:-1] + down[..., :-1, 1:-1])[0]
    return F.normalize(torch.linalg.cross(down, right, dim=0), dim=0).permute(1, 2, 0)


class ViserPage:
    """A page by viser, for this machine only.

    Args:
        port: The first that is tried.
        start: Where a new browser's camera begins.
        can_hold: Whether there is a bandwidth to hold.

    Raises:
        UserError: viser is not installed.
    """

    def __init__(self, port: int, start: tuple[float, float, float], can_hold: bool) -> None:
        try:
            import viser
        except ImportError as error:
            raise UserError(f"--viewer needs viser: {install('viewer')}") from error
        self._server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
        self._server.initial_camera.position, self._server.initial_camera.look_at = start, (0.0, 0.0, 0.0)
        gui = self._server.gui
        gui.configure_theme(show_share_button=False, show_logo=False)
        self._text = gui.add_markdown("")
        self._shown = gui.add_dropdown("show", SHOWN)
        self._height = gui.add_slider("resolution", 32, 512, 32, 128)
        self._paused = gui.add_checkbox("pause", False)
        self._hold = gui.add_checkbox("hold bandwidth", False, visible=can_hold)
        self._bandwidth = gui.add_slider("bandwidth", 0.1, WIDEST, 0.1, 1.0, visible=can_hold)
        print(f"Viewer: http://127.0.0.1:{self._server.get_port()}", flush=True)

    @property
    def paused(self) -> bool:
        return self._paused.value

    @property
    def shown(self) -> str:
        return self._shown.value

    @property
    def height(self) -> int:
        return int(self._height.value)

    @property
    def held(self) -> float | None:
        return float(self._bandwidth.value) if self._hold.value else None

    def looks(self) -> dict[int, Look]:
        cameras = {name: client.camera for name, client in self._server.get_clients().items()}
        return {
            name: Look(tuple(camera.wxyz), tuple(camera.position), float(camera.fov), float(camera.aspect))
            for name, camera in cameras.items()
        }

    def show(self, client: int, picture: np.ndarray) -> None:
        browser = self._server.get_clients().get(client)
        if browser is not None:
            browser.scene.set_background_image(picture, format="jpeg")

    def tell(self, figures: dict[str, float]) -> None:
        self._text.content = "  \n".join(f"{name}: **{figure(value)}**" for name, value in figures.items())
        if not self._hold.value and "bandwidth" in figures:
            self._bandwidth.value = min(max(round(figures["bandwidth"], 1), 0.1), WIDEST)

    def close(self) -> None:
        self._server.stop()
