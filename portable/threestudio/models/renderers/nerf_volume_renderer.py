"""`nerf-volume-renderer`: emission and absorption along rays, with nerfacc."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from threestudio import register
from threestudio.models.renderers.base import VolumeRenderer
from threestudio.utils.config import ConfigError
from threestudio.utils.ops import chunk_batch
from torch import Tensor, nn

ALPHA, TRANSMITTANCE = 0.01, 1e-4  # samples below either are dropped


@dataclass(frozen=True)
class Samples:
    """Where rays are sampled: a lattice of steps `mask [R, K]`, and its N true entries, in order.

    Attributes:
        mask: Which steps of which rays.
        ray: Each sample's ray, `[N]`.
        start: Where its step begins, world units along the ray, `[N]`.
        step: Length of a step, world units.
    """

    mask: Tensor
    ray: Tensor
    start: Tensor
    step: float

    @property
    def middle(self) -> Tensor:
        """Where it is evaluated, `[N, 1]`."""
        return self.start[:, None] + 0.5 * self.step

    def positions(self, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        """In the world, `[N, 3]`."""
        return rays_o[self.ray] + rays_d[self.ray] * self.middle

    def keep(self, kept: Tensor) -> "Samples":
        """Those of the N that `kept` says."""
        mask = torch.zeros_like(self.mask).masked_scatter(self.mask, kept)
        return Samples(mask, self.ray[kept], self.start[kept], self.step)

    def weights(self, density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, transmittances and opacities `[N]` of the samples, from their densities `[N]`."""
        import nerfacc

        ends = torch.arange(self.mask.shape[1] + 1, device=density.device) * self.step
        starts, ends = (t.expand(self.mask.shape) for t in (ends[:-1], ends[1:]))
        lattice = torch.zeros(self.mask.shape, device=density.device).masked_scatter(self.mask, density)
        return tuple(x[self.mask] for x in nerfacc.render_weight_from_density(starts, ends, lattice))


def march(
    rays_o: Tensor,
    rays_d: Tensor,
    occupied: Tensor,
    radius: float,
    step: float,
    near: float,
    far: float,
    jitter: Tensor | None,
) -> Samples:
    """Step along rays through the occupied cells of a box; rays that miss the box get no samples.

    Args:
        rays_o: Origins, `[R, 3]`.
        rays_d: Unit vectors, `[R, 3]`.
        occupied: Cells of the box about the origin, `[n, n, n]`.
        radius: Half its side.
        step: Length of a step, world units.
        near: Where rays begin.
        far: Where they end.
        jitter: How far each ray's steps are moved, in steps, `[R]`; None: not at all.
    """
    inverse = 1 / torch.where(rays_d.abs() < 1e-9, 1e-9, rays_d)
    walls = torch.stack([(-radius - rays_o) * inverse, (radius - rays_o) * inverse])
    enter = walls.amin(0).amax(-1).clamp(min=near)
    leave = walls.amax(0).amin(-1).clamp(max=far)
    origin = torch.full_like(enter, near) if jitter is None else near + jitter * step
    first = torch.ceil((enter - origin) / step - 0.5).clamp(min=0)  # the first step whose middle is inside
    longest = torch.where(leave > enter, (leave - enter) / step, 0).max()
    k = torch.arange(int(longest) + 1, device=rays_o.device)
    start = origin[:, None] + (first[:, None] + k) * step
    mask = (start + 0.5 * step >= enter[:, None]) & (start + 0.5 * step < leave[:, None])
    samples = Samples(mask, mask.nonzero()[:, 0], start[mask], step)
    size = torch.tensor(occupied.shape, device=rays_o.device)
    unit = (samples.positions(rays_o, rays_d) / radius + 1) / 2
    cell = (unit * size).long().clamp(min=0).minimum(size - 1)
    return samples.keep(occupied[cell[:, 0], cell[:, 1], cell[:, 2]])


@register("nerf-volume-renderer")
class NeRFVolumeRenderer(VolumeRenderer):
    """Marches rays at a fixed step through what an occupancy grid has not found empty."""

    @dataclass
    class Config(VolumeRenderer.Config):
        """Settings of `nerf-volume-renderer`."""

        num_samples_per_ray: int = 512  # along the box's diagonal
        eval_chunk_size: int = 160000  # points at once, outside training
        randomized: bool = True  # steps begin at a random place, in training

        near_plane: float = 0.0
        far_plane: float = 1e10

        return_comp_normal: bool = False
        return_normal_perturb: bool = False

        estimator: str = "occgrid"  # threestudio's others, proposal and importance, are not supported

        grid_prune: bool = True  # skip empty cells
        prune_alpha_threshold: bool = True  # drop samples that hardly show

        def __post_init__(self) -> None:
            if self.estimator != "occgrid":
                raise ValueError(f"estimator must be occgrid on the portable host, got {self.estimator!r}")
            if self.num_samples_per_ray < 1:
                raise ValueError(f"num_samples_per_ray must be at least 1, got {self.num_samples_per_ray}")

    cfg: Config

    def configure(self, geometry: nn.Module, material: nn.Module, background: nn.Module) -> None:
        """Make the occupancy grid."""
        try:
            import nerfacc
        except ImportError as error:
            raise ConfigError(
                "system.renderer_type: nerf-volume-renderer needs nerfacc: pip install 'threestudio-msd[3d]'"
            ) from error
        super().configure(geometry, material, background)
        self.estimator = nerfacc.OccGridEstimator(roi_aabb=self.bbox.view(-1), resolution=32, levels=1)
        if not self.cfg.grid_prune:
            self.estimator.occs.fill_(1)
            self.estimator.binaries.fill_(True)
        self.render_step_size = 1.732 * 2 * self.cfg.radius / self.cfg.num_samples_per_ray

    def forward(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        light_positions: Tensor,
        bg_color: Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Tensor]:
        """Render.

        Args:
            rays_o: Origins, `[B, H, W, 3]`.
            rays_d: Unit vectors, `[B, H, W, 3]`.
            light_positions: One light an image, `[B, 3]`.
            bg_color: In place of the background: `[B, 3]` or `[B, H, W, 3]`.
            kwargs: Passed on to the material, in training.

        Returns:
            `[B, H, W, C]` each: `comp_rgb`, `comp_rgb_fg`, `comp_rgb_bg`, `opacity`, `depth`, `z_variance`,
            and `comp_normal` (outside training, or where asked for) if the material needs normals. In
            training also the N samples: `weights`, `t_points`, `t_intervals`, `t_dirs`, `ray_indices`,
            `points`, and what the geometry returns.

        Raises:
            FloatingPointError: A density is NaN or infinite.
        """
        import nerfacc

        shape = rays_o.shape[:3]
        origins, directions = rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)
        samples = self._samples(origins, directions)
        points, dirs = samples.positions(origins, directions), directions[samples.ray]
        image = samples.ray // (shape[1] * shape[2])
        geometry = self._chunked(self.geometry, points, output_normal=self.material.requires_normal)
        density = geometry["density"][..., 0]
        if not torch.isfinite(density).all():
            raise FloatingPointError(
                "the geometry's density holds NaN or Inf; lower system.optimizer's learning rate"
            )
        colours = self._chunked(
            self.material,
            viewdirs=dirs,
            positions=points,
            light_positions=light_positions[image],
            **geometry,
            **(kwargs if self.training else {}),
        )
        weights = samples.weights(density)[0]

        def along(values: Tensor | None, by: Tensor = weights) -> Tensor:
            return nerfacc.accumulate_along_rays(by, values, samples.ray, len(origins))

        opacity, depth, foreground = along(None), along(samples.middle), along(colours)
        normalised = weights / opacity.clamp(min=1e-5)[samples.ray, 0]
        mean = along(samples.middle, normalised)
        spread = along((samples.middle - mean[samples.ray]) ** 2, normalised) * (opacity > 0.5)  # HiFA's
        background = self.background(dirs=rays_d)
        out = {
            "comp_rgb": foreground
            + self._behind(background, bg_color).reshape(len(origins), -1) * (1 - opacity),
            "comp_rgb_fg": foreground,
            "comp_rgb_bg": background.reshape(len(origins), -1),
            "opacity": opacity,
            "depth": depth,
            "z_variance": spread,
        }
        if "normal" in geometry and (self.cfg.return_comp_normal or not self.training):
            out["comp_normal"] = (F.normalize(along(geometry["normal"]), dim=-1) + 1) / 2 * opacity
        out = {name: value.view(*shape, -1) for name, value in out.items()}
        if not self.training:
            return out
        if "normal" in geometry and self.cfg.return_normal_perturb:
            near = points + torch.randn_like(points) * 1e-2
            out["normal_perturb"] = self.geometry(near, output_normal=True)["normal"]
        return {
            **out,
            "weights": weights[:, None],
            "t_points": samples.middle,
            "t_intervals": torch.full_like(samples.middle, samples.step),
            "t_dirs": dirs,
            "ray_indices": samples.ray,
            "points": points,
            **geometry,
        }

    @torch.no_grad()
    def _samples(self, origins: Tensor, directions: Tensor) -> Samples:
        cfg = self.cfg
        jitter = torch.rand_like(origins[:, 0]) if self.training and cfg.randomized else None
        samples = march(
            origins,
            directions,
            self.estimator.binaries[0],
            cfg.radius,
            self.render_step_size,
            cfg.near_plane,
            cfg.far_plane,
            jitter,
        )
        if cfg.grid_prune and cfg.prune_alpha_threshold and len(samples.ray):
            density = self._chunked(self.geometry.forward_density, samples.positions(origins, directions))
            _, transmittance, alpha = samples.weights(density[:, 0])
            least = min(ALPHA, self.estimator.occs.mean().item())
            samples = samples.keep((alpha >= least) & (transmittance >= TRANSMITTANCE))
        if len(samples.ray):
            return samples
        mask = torch.zeros_like(samples.mask)  # nothing is seen: one sample, so that gradients exist
        mask[0, 0] = True
        return Samples(mask, mask.nonzero()[:, 0], origins.new_zeros(1), samples.step)

    def _chunked(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return chunk_batch(function, 0 if self.training else self.cfg.eval_chunk_size, *args, **kwargs)

    @staticmethod
    def _behind(background: Tensor, bg_color: Tensor | None) -> Tensor:
        if bg_color is None:
            return background
        return (bg_color[:, None, None] if bg_color.ndim == 2 else bg_color).expand_as(background)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Look where the box is empty, every 16 steps."""
        if self.cfg.grid_prune and self.training and not on_load_weights:
            self.estimator.update_every_n_steps(
                step=global_step,
                occ_eval_fn=lambda points: self.geometry.forward_density(points) * self.render_step_size,
            )
