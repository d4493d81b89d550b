"""`implicit-volume`: density and features by an encoding and small networks."""

from dataclasses import dataclass, field
from typing import Any

import threestudio
import torch
import torch.nn.functional as F
from threestudio.models.geometry.base import DensityGeometry, blob
from threestudio.models.networks import get_encoding, get_mlp
from threestudio.utils.ops import get_activation, scale_tensor
from torch import Tensor

NORMALS = (None, "pred", "finite_difference", "finite_difference_laplacian", "analytic")
BIASES = ("blob_dreamfusion", "blob_magic3d")


@threestudio.register("implicit-volume")
class ImplicitVolume(DensityGeometry):
    """Instant-NGP's field: networks behind an encoding of the point."""

    @dataclass
    class Config(DensityGeometry.Config):
        n_input_dims: int = 3
        n_feature_dims: int = 3
        density_activation: str | None = "softplus"
        density_bias: float | str = "blob_magic3d"  # or blob_dreamfusion, or a number
        density_blob_scale: float = 10.0
        density_blob_std: float = 0.5
        pos_encoding_config: dict = field(
            default_factory=lambda: {
                "otype": "HashGrid",
                "n_levels": 16,
                "n_features_per_level": 2,
                "log2_hashmap_size": 19,
                "base_resolution": 16,
                "per_level_scale": 1.447269237440378,
            }
        )
        mlp_network_config: dict = field(
            default_factory=lambda: {
                "otype": "VanillaMLP",
                "activation": "ReLU",
                "output_activation": "none",
                "n_neurons": 64,
                "n_hidden_layers": 1,
            }
        )
        # null, pred, finite_difference, finite_difference_laplacian, analytic
        normal_type: str | None = "finite_difference"
        finite_difference_normal_eps: float = 0.01
        isosurface_threshold: Any = 25.0
        # min_anneal_step, max_anneal_step, start_val, end_val
        anneal_density_blob_std_config: dict | None = None

        def __post_init__(self) -> None:
            if self.normal_type not in NORMALS:
                raise ValueError(f"normal_type must be one of {NORMALS}, got {self.normal_type!r}")
            if isinstance(self.density_bias, str) and self.density_bias not in BIASES:
                raise ValueError(
                    f"density_bias must be a number or one of {BIASES}, got {self.density_bias!r}"
                )

    cfg: Config

    def configure(self) -> None:
        super().configure()
        cfg = self.cfg
        self.density_blob_std = cfg.density_blob_std
        self.encoding = get_encoding(cfg.n_input_dims, cfg.pos_encoding_config)
        width = self.encoding.n_output_dims
        self.density_network = get_mlp(width, 1, cfg.mlp_network_config)
        if cfg.n_feature_dims > 0:
            self.feature_network = get_mlp(width, cfg.n_feature_dims, cfg.mlp_network_config)
        if cfg.normal_type == "pred":
            self.normal_network = get_mlp(width, 3, cfg.mlp_network_config)

    def get_activated_density(self, points: Tensor, density: Tensor) -> tuple[Tensor, Tensor]:
        """The network's density with its bias, before and after the activation,
        `[..., 1]` each.
        """
        scale, std, bias = self.cfg.density_blob_scale, self.density_blob_std, self.cfg.density_bias
        if bias == "blob_magic3d":
            bias = blob(points, scale, std)
        elif bias == "blob_dreamfusion":
            bias = scale * torch.exp(-0.5 * (points**2).sum(-1, keepdim=True) / std**2)
        raw = density + bias
        return raw, get_activation(self.cfg.density_activation)(raw)

    def _encode(self, points: Tensor) -> Tensor:
        unit = scale_tensor(points, self.bbox, (0, 1))
        return self.encoding(unit.reshape(-1, self.cfg.n_input_dims)).unflatten(0, points.shape[:-1])

    def _apply_network(self, network: torch.nn.Module, encoded: Tensor) -> Tensor:
        return network(encoded.flatten(0, -2)).unflatten(0, encoded.shape[:-1])

    def forward(self, points: Tensor, output_normal: bool = False) -> dict[str, Tensor]:
        analytic = output_normal and self.cfg.normal_type == "analytic"
        keep_graph = torch.is_grad_enabled()
        with torch.set_grad_enabled(keep_graph or analytic):
            if analytic and not points.requires_grad:
                points = points.detach().requires_grad_(True)
            encoded = self._encode(points)
            raw = self._apply_network(self.density_network, encoded)
            density = self.get_activated_density(points, raw)[1]
            output = {"density": density}
            if self.cfg.n_feature_dims > 0:
                output["features"] = self._apply_network(self.feature_network, encoded)
            if output_normal:
                normal = self._normal(points, encoded, density)
                output |= {"normal": normal, "shading_normal": normal}
        return output if keep_graph else {name: value.detach() for name, value in output.items()}

    def _normal(self, points: Tensor, encoded: Tensor, density: Tensor) -> Tensor:
        kind = self.cfg.normal_type
        if kind == "pred":
            return F.normalize(self._apply_network(self.normal_network, encoded), dim=-1)
        if kind == "analytic":
            (gradient,) = torch.autograd.grad(density, points, torch.ones_like(density), create_graph=True)
            return F.normalize(-gradient, dim=-1)
        return self.finite_difference_normal(points, density, self.cfg.finite_difference_normal_eps)

    def forward_density(self, points: Tensor) -> Tensor:
        raw = self._apply_network(self.density_network, self._encode(points))
        return self.get_activated_density(points, raw)[1]

    def export(self, points: Tensor, **kwargs: Any) -> dict[str, Any]:
        if self.cfg.n_feature_dims == 0:
            return {}
        return {"features": self._apply_network(self.feature_network, self._encode(points))}

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Anneal the blob's size, where the config says so."""
        anneal = self.cfg.anneal_density_blob_std_config
        if anneal is not None and anneal["min_anneal_step"] <= global_step <= anneal["max_anneal_step"]:
            length = anneal["max_anneal_step"] - anneal["min_anneal_step"]
            part = (global_step - anneal["min_anneal_step"]) / length
            self.density_blob_std = anneal["start_val"] + part * (anneal["end_val"] - anneal["start_val"])
