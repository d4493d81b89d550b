"""The checker of `--typecheck`: what it refuses. That it is applied: tests/test_typecheck.py."""

import pytest
import torch
from jaxtyping import Float, jaxtyped
from torch import Tensor

from launcher.typecheck import checked


@jaxtyped(typechecker=checked)
def scaled(x: Float[Tensor, "B 2"], factor: float) -> Float[Tensor, "B 2"]:
    """Something with a shape and a number."""
    return x * factor


def test_an_int_is_a_float_and_a_wrong_shape_is_told():
    assert scaled(torch.ones(3, 2), 2).shape == (3, 2)
    for x, factor in ((torch.ones(3), 2.0), (torch.ones(3, 2), "2")):
        with pytest.raises(Exception, match="Type-check error"):
            scaled(x, factor)
