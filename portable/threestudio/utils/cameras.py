"""Cameras as matrices and rays: right-handed world with z up, camera with x right, y
up, looking along -z.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def get_ray_directions(
    H: int,
    W: int,
    focal: float | tuple[float, float],
    principal: tuple[float, float] | None = None,
    use_pixel_centers: bool = True,
) -> Float[Tensor, "H W 3"]:
    """Directions of all pixels' rays in the camera's frame, at depth 1, not normalised.

    Args:
        H: Pixels.
        W: Pixels.
        focal: Focal length in pixels, one or (x, y).
        principal: Principal point, (x, y) in pixels; the middle by default.
        use_pixel_centers: Whether rays go through pixels' centres, or through their
            upper left corners.
    """
    fx, fy = (focal, focal) if isinstance(focal, (int, float)) else focal
    cx, cy = (W / 2, H / 2) if principal is None else principal
    shift = 0.5 if use_pixel_centers else 0.0
    x, y = torch.meshgrid(torch.arange(W) + shift, torch.arange(H) + shift, indexing="xy")
    return torch.stack([(x - cx) / fx, -(y - cy) / fy, -torch.ones_like(x)], -1)


def get_rays(
    directions: Float[Tensor, "... 3"],
    c2w: Float[Tensor, "... 4 4"],
    keepdim: bool = False,
    noise_scale: float = 0.0,
    normalize: bool = True,
) -> tuple[Float[Tensor, "... 3"], Float[Tensor, "... 3"]]:
    """Origins and directions of rays in the world.

    Args:
        directions: In the camera's frame: `[N, 3]`, `[H, W, 3]` or `[B, H, W, 3]`.
        c2w: Camera to world: one matrix, one for each of N rays, or one for each of B
            cameras.
        keepdim: Whether to keep the shape, or to return `[rays, 3]`.
        noise_scale: Standard deviation of noise that is common to all rays.
        normalize: Whether directions become unit vectors.
    """
    image = directions.ndim >= 3
    c2w = c2w[..., None, None, :, :] if image else c2w
    rays_d = (directions[..., None, :] * c2w[..., :3, :3]).sum(-1)
    rays_o = c2w[..., :3, 3].expand(rays_d.shape)
    if noise_scale > 0:
        rays_o = rays_o + torch.randn(3, device=rays_o.device) * noise_scale
        rays_d = rays_d + torch.randn(3, device=rays_d.device) * noise_scale
    if normalize:
        rays_d = F.normalize(rays_d, dim=-1)
    return (rays_o, rays_d) if keepdim else (rays_o.reshape(-1, 3), rays_d.reshape(-1, 3))


def get_projection_matrix(
    fovy: Float[Tensor, " B"], aspect_wh: float, near: float, far: float
) -> Float[Tensor, "B 4 4"]:
    """OpenGL's perspective projection with y downwards; `fovy` in radians, `aspect_wh`
    width over height.
    """
    matrix = torch.zeros(len(fovy), 4, 4)
    cot = 1 / torch.tan(fovy / 2)
    matrix[:, 0, 0], matrix[:, 1, 1] = cot / aspect_wh, -cot
    matrix[:, 2, 2] = -(far + near) / (far - near)
    matrix[:, 2, 3] = -2 * far * near / (far - near)
    matrix[:, 3, 2] = -1
    return matrix


def get_mvp_matrix(c2w: Float[Tensor, "B 4 4"], proj_mtx: Float[Tensor, "B 4 4"]) -> Float[Tensor, "B 4 4"]:
    """World to clip space: the projection after the inverse of a rigid camera-to-world
    matrix.
    """
    rotation = c2w[:, :3, :3].transpose(1, 2)
    w2c = torch.zeros_like(c2w)
    w2c[:, :3, :3] = rotation
    w2c[:, :3, 3:] = -rotation @ c2w[:, :3, 3:]
    w2c[:, 3, 3] = 1
    return proj_mtx @ w2c


def camera_position(
    elevation: Float[Tensor, " B"], azimuth: Float[Tensor, " B"], distance: Float[Tensor, " B"]
) -> Float[Tensor, "B 3"]:
    """Place a camera: angles in radians, azimuth from +x to +y."""
    return distance[:, None] * torch.stack(
        [elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], -1
    )


def look_at(
    position: Float[Tensor, "B 3"], centre: Float[Tensor, "B 3"], up: Float[Tensor, "B 3"]
) -> Float[Tensor, "B 4 4"]:
    """Camera-to-world matrices of cameras that look from `position` to `centre`."""
    forward = F.normalize(centre - position, dim=-1)
    right = F.normalize(torch.linalg.cross(forward, up), dim=-1)
    up = F.normalize(torch.linalg.cross(right, forward), dim=-1)
    c2w = torch.zeros(len(position), 4, 4)
    c2w[:, :3] = torch.stack([right, up, -forward, position], -1)
    c2w[:, 3, 3] = 1
    return c2w
