"""Tensor functions that configs and guidance refer to."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Num
from threestudio.utils.cameras import (  # noqa: F401  (threestudio has them here)
    get_mvp_matrix,
    get_projection_matrix,
    get_ray_directions,
    get_rays,
)
from threestudio.utils.config import ConfigError
from torch import Tensor

ValidScale = tuple[float, float] | Num[Tensor, "2 D"]


def dot(x: Num[Tensor, "*B D"], y: Num[Tensor, "*B D"]) -> Num[Tensor, "*B 1"]:
    """The inner product along the last dimension, which is kept."""
    return torch.sum(x * y, -1, keepdim=True)


def scale_tensor(
    dat: Num[Tensor, "*B D"], inp_scale: ValidScale | None, tgt_scale: ValidScale | None
) -> Num[Tensor, "*B D"]:
    """Map the range `inp_scale` linearly onto `tgt_scale`; None stands for (0, 1)."""
    low, high = (0, 1) if inp_scale is None else inp_scale
    to_low, to_high = (0, 1) if tgt_scale is None else tgt_scale
    return (dat - low) / (high - low) * (to_high - to_low) + to_low


class _TruncExp(torch.autograd.Function):
    """exp(x), whose gradient stays finite: it is taken at min(x, 15)."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.exp(x)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * torch.exp(x.clamp(max=15))


trunc_exp = _TruncExp.apply


def _lin2srgb(x: Tensor) -> Tensor:
    curve = torch.pow(x.clamp(min=0.0031308), 1.0 / 2.4) * 1.055 - 0.055
    return torch.where(x > 0.0031308, curve, 12.92 * x).clamp(0.0, 1.0)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "lin2srgb": _lin2srgb,
    "exp": torch.exp,
    "shifted_exp": lambda x: torch.exp(x - 1.0),
    "trunc_exp": trunc_exp,
    "shifted_trunc_exp": lambda x: trunc_exp(x - 1.0),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "shifted_softplus": lambda x: F.softplus(x - 1.0),
    "scale_-11_01": lambda x: x * 0.5 + 0.5,
}


def get_activation(name: str | None) -> Callable[[Tensor], Tensor]:
    """An activation by name: threestudio's own, or any of `torch.nn.functional`; None
    is the identity.

    Raises:
        ConfigError: The name is unknown.
    """
    key = "none" if name is None else name.lower()
    function = _ACTIVATIONS.get(key) or getattr(F, key, None)
    if function is None:
        raise ConfigError(f"unknown activation '{name}'")
    return function


def chunk_batch(func: Callable[..., Any], chunk_size: int, *args: Any, **kwargs: Any) -> Any:
    """Call `func` on slices of at most `chunk_size` along dimension 0 of every tensor
    argument; join what it returns.

    Args:
        func: Returns a tensor, or a tuple, list or dict of tensors and Nones.
        chunk_size: Zero or less: no slicing.
        args: Passed on; tensors are sliced.
        kwargs: Likewise.

    Raises:
        ValueError: No argument is a tensor.
    """
    if chunk_size <= 0:
        return func(*args, **kwargs)
    tensors = [x for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    if not tensors:
        raise ValueError("chunk_batch needs a tensor among the arguments")

    def run(start: int) -> Any:
        def part(x: Any) -> Any:
            return x[start : start + chunk_size] if isinstance(x, Tensor) else x

        return func(*map(part, args), **{key: part(value) for key, value in kwargs.items()})

    return _join(
        [run(start) for start in range(0, max(1, len(tensors[0])), chunk_size)]
    )  # one call on an empty batch


def _join(parts: list[Any]) -> Any:
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        joined = torch.cat(parts)
        return joined if torch.is_grad_enabled() else joined.detach()
    if isinstance(first, dict):
        return {key: _join([part[key] for part in parts]) for key in first}
    if isinstance(first, (tuple, list)):
        return type(first)(map(_join, map(list, zip(*parts, strict=True))))
    raise TypeError(f"chunk_batch cannot join {type(first).__name__}")


def binary_cross_entropy(input: Tensor, target: Tensor) -> Float[Tensor, ""]:
    """Binary cross-entropy in the inputs' own precision, for autocast regions where
    torch's will not run.
    """
    return -(target * torch.log(input) + (1 - target) * torch.log(1 - input)).mean()


def shifted_expotional_decay(a: float, b: float, c: float, r: Tensor) -> Tensor:
    """a exp(-b r) + c, the weights of Perp-Neg (threestudio's spelling)."""
    return a * torch.exp(-b * r) + c
