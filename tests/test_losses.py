"""Every loss has a weight, and every weight a loss."""

from __future__ import annotations

import pytest
from threestudio_msd.errors import UserError
from threestudio_msd.losses import require_weights


class Guidance:
    @classmethod
    def losses(cls):
        return ("vsd", "lora")


def test_weights_of_the_guidances_losses_and_of_the_systems_pass():
    require_weights({"lambda_vsd": 1, "lambda_lora": 1}, Guidance)
    require_weights({"lambda_vsd": 1, "lambda_lora": 1, "lambda_tv": 1}, Guidance, ("tv", "sparsity"))


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"lambda_vsd": 1}, r"^system\.loss\.lambda_lora: no value is given$"),
        (
            {"lambda_vsd": 1, "lambda_lora": 1, "lambda_loar": 1},
            r"^system\.loss\.lambda_loar: no loss has this weight; did you mean 'lambda_lora'\?$",
        ),
        (
            {"lambda_vsd": 1, "lambda_lora": 1, "x": 1},
            r"^system\.loss\.x: no loss .*; known: lambda_vsd, lambda_lora, lambda_tv$",
        ),
    ],
)
def test_one_that_stands_alone_is_told(weights, told):
    with pytest.raises(UserError, match=told):
        require_weights(weights, Guidance, ("tv",))


def test_of_a_guidance_that_does_not_tell_nothing_is_asked():
    require_weights({"lambda_anything": 1}, object)
