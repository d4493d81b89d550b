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
    """N places along rays, ray by ray and each from near to far.

    Attributes:
        ray: Each sample's ray, `[N]`, ascending.
        start: The begin of its step, world units along the ray, `[N]`.
        step: Length of a step, world units.
    """

    ray: Tensor
    start: Tensor
    step: float

    @property
    def middle(self) -> Tensor:
        """The places at which samples are evaluated, along their rays, `[N, 1]`."""
        return self.start[:, None] + 0.5 * self.step

    def positions(self, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        """The same places in the world, `[N, 3]`."""
        return torch.addcmul(rays_o[self.ray], rays_d[self.ray], self.middle)

    def keep(self, kept: Tensor) -> "Samples":
        """Select samples by a mask `[N]`."""
        return Samples(self.ray[kept], self.start[kept], self.step)

    def weights(self, density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weights, transmittances and opacities `[N]` of the samples, from their
        densities `[N]`.

        Those of nerfacc's `render_weight_from_density`, which has no CPU code for rays
        of unequal lengths.
        """
        depth = density * self.step
        before = depth.double().cumsum(0) - depth  # of all rays; each one's own begins with its first sample
        begins = self.ray.diff(prepend=self.ray.new_tensor([-1])) != 0
        own = before[begins][begins.cumsum(0) - 1]
        transmittance, opacity = torch.exp(own - before).to(depth), -torch.expm1(-depth)
        return transmittance * opacity, transmittance, opacity


def box_ends(rays_o: Tensor, rays_d: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Find where rays enter and leave a box about the origin, `[R]` each; leave < enter
    if they miss it.
    """
    inverse = 1 / torch.where(rays_d.abs() < 1e-9, 1e-9, rays_d)
    walls = torch.stack([(-radius - rays_o) * inverse, (radius - rays_o) * inverse])
    return walls.amin(0).amax(-1), walls.amax(0).amin(-1)


def ball_ends(rays_o: Tensor, rays_d: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """As `box_ends`, for a ball; rays that miss it enter and leave it at one place."""
    nearest = -(rays_o * rays_d).sum(-1)
    reach = (radius**2 - (rays_o**2).sum(-1) + nearest**2).clamp(min=0).sqrt()
    return nearest - reach, nearest + reach


def march(
    ends: tuple[Tensor, Tensor], step: float, near: float, far: float, jitter: Tensor | None
) -> Samples:
    """Step along rays between two ends.

    Args:
        ends: Limits of the middles of each ray's steps, `[R]` each.
        step: Length of a step, world units.
        near: The begin of all rays.
        far: Their end.
        jitter: How far each ray's steps are moved, in steps, `[R]`; None: not at all.
    """
    enter, leave = ends[0].clamp(min=near), ends[1].clamp(max=far)
    origin = torch.full_like(enter, near) if jitter is None else near + jitter * step
    first, beyond = (torch.ceil((end - origin) / step - 0.5).clamp(min=0) for end in (enter, leave))
    counts = (beyond - first).clamp(min=0).long()
    ray = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    steps_before = (counts.cumsum(0) - counts)[ray]
    k = torch.arange(len(ray), device=counts.device) - steps_before
    return Samples(ray, torch.add((origin + first * step)[ray], k, alpha=step), step)


def within(points: Tensor, occupied: Tensor, radius: float) -> Tensor:
    """Tell which points `[N, 3]` lie in occupied cells `[n, n, n]` of a box of half
    side `radius`.
    """
    size = torch.tensor(occupied.shape, device=points.device)
    cell = ((points / radius + 1) / 2 * size).long().clamp(min=0).minimum(size - 1)
    return occupied[cell[:, 0], cell[:, 1], cell[:, 2]]


@register("nerf-volume-renderer")
class NeRFVolumeRenderer(VolumeRenderer):
    """Marches rays at a fixed step through what an occupancy grid has not found
    empty.
    """

    @dataclass
    class Config(VolumeRenderer.Config):
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
        try:
            import nerfacc
        except ImportError as error:
            raise ConfigError(
                "system.renderer_type: nerf-volume-renderer needs nerfacc: pip install nerfacc"
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
            `[B, H, W, C]` each: `comp_rgb`, `comp_rgb_fg`, `comp_rgb_bg`, `opacity`,
            `depth`, `z_variance`, and `comp_normal` (outside training, or if asked for)
            if the material needs normals. In training also of N samples: those of
            `_per_sample`, `points`, and the geometry's output.

        Raises:
            FloatingPointError: A density is NaN or infinite.
        """
        shape = rays_o.shape[:3]
        origins, directions = rays_o.reshape(-1, 3), rays_d.reshape(-1, 3)
        samples = self._samples(origins, directions)
        points, dirs = samples.positions(origins, directions), directions[samples.ray]
        lights = light_positions[samples.ray // (shape[1] * shape[2])]
        geometry, colours = self._evaluate(points, dirs, lights, kwargs if self.training else {})
        weights = samples.weights(geometry["density"][..., 0])[0]
        out = self._along(samples, weights, colours, geometry.get("normal"), len(origins))
        background = self.background(dirs=rays_d)
        out["comp_rgb_bg"] = background.reshape(len(origins), -1)
        behind = self._behind(background, bg_color).reshape(len(origins), -1)
        out["comp_rgb"] = out["comp_rgb_fg"] + behind * (1 - out["opacity"])
        out = {name: value.view(*shape, -1) for name, value in out.items()}
        if not self.training:
            return out
        if "normal" in geometry and self.cfg.return_normal_perturb:
            near = points + torch.randn_like(points) * 1e-2
            out["normal_perturb"] = self.geometry(near, output_normal=True)["normal"]
        return {**out, **self._per_sample(samples, weights, dirs), "points": points, **geometry}

    def _evaluate(
        self, points: Tensor, dirs: Tensor, lights: Tensor, further: dict[str, Any]
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return what the geometry says of N points, and their colours `[N, 3]`."""
        geometry = self._chunked(self.geometry, points, output_normal=self.material.requires_normal)
        if not torch.isfinite(geometry["density"]).all():
            raise FloatingPointError(
                "the geometry's density holds NaN or Inf; lower system.optimizer's learning rate"
            )
        seen = {"viewdirs": dirs, "positions": points, "light_positions": lights}
        return geometry, self._chunked(self.material, **seen, **geometry, **further)

    @torch.no_grad()
    def _samples(self, origins: Tensor, directions: Tensor) -> Samples:
        cfg = self.cfg
        jitter = torch.rand_like(origins[:, 0]) if self.training and cfg.randomized else None
        ends = box_ends(origins, directions, cfg.radius)
        ball = getattr(self.geometry, "ball_radius", None)
        if ball is not None and ball < 1.732 * cfg.radius:
            inside = ball_ends(origins, directions, ball)
            ends = torch.maximum(ends[0], inside[0]), torch.minimum(ends[1], inside[1])
        samples = march(ends, self.render_step_size, cfg.near_plane, cfg.far_plane, jitter)
        if cfg.grid_prune and len(samples.ray):
            samples = self._pruned(samples, origins, directions)
        if len(samples.ray):
            return samples
        nothing = origins.new_zeros(1)  # is seen: one sample, so that gradients exist
        return Samples(nothing.long(), nothing, samples.step)

    def _pruned(self, samples: Samples, origins: Tensor, directions: Tensor) -> Samples:
        """Without the empty cells' samples and, where asked for, those that hardly
        show.
        """
        points = samples.positions(origins, directions)
        kept = within(points, self.estimator.binaries[0], self.cfg.radius)
        samples, points = samples.keep(kept), points[kept]
        if not self.cfg.prune_alpha_threshold or not len(samples.ray):
            return samples
        _, transmittance, alpha = samples.weights(self._chunked(self.geometry.forward_density, points)[:, 0])
        least = min(ALPHA, self.estimator.occs.mean().item())
        hidden = (alpha < least) | (transmittance < TRANSMITTANCE)  # not so NaN, which must be seen
        return samples.keep(~hidden)

    def _along(
        self, samples: Samples, weights: Tensor, colours: Tensor, normal: Tensor | None, rays: int
    ) -> dict[str, Tensor]:
        """Add up along each ray, in one pass: pictures `[rays, C]` by name, without
        background.
        """
        import nerfacc

        middle = samples.middle
        about = middle.detach().mean()  # squares of small numbers lose less
        near = middle - about
        values = torch.cat([torch.ones_like(near), near, near**2, colours], -1)
        sums = nerfacc.accumulate_along_rays(weights, values, samples.ray, rays)
        opacity, first, second = sums[:, :1], sums[:, 1:2], sums[:, 2:3]
        least = opacity.clamp(min=1e-5)
        spread = (second / least - (first / least) ** 2).clamp(min=0)
        out = {
            "opacity": opacity,
            "depth": first + about * opacity,
            "z_variance": spread * (opacity > 0.5),  # HiFA's
            "comp_rgb_fg": sums[:, 3:],
        }
        if normal is not None and (self.cfg.return_comp_normal or not self.training):
            seen = nerfacc.accumulate_along_rays(weights, normal, samples.ray, rays)
            out["comp_normal"] = (F.normalize(seen, dim=-1) + 1) / 2 * opacity
        return out

    @staticmethod
    def _per_sample(samples: Samples, weights: Tensor, dirs: Tensor) -> dict[str, Tensor]:
        """Name the N samples' values as threestudio's losses do."""
        return {
            "weights": weights[:, None],
            "t_points": samples.middle,
            "t_intervals": torch.full_like(samples.middle, samples.step),
            "t_dirs": dirs,
            "ray_indices": samples.ray,
        }

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
