#!/usr/bin/env bash
# torch 2.13.0's inductor on a CPU with diffusers 0.42.1: a compiled UpBlock2D returns the right output and a gradient of
# exactly zero for its input and its skips, without an error. A directional derivative agrees with the eager gradient. Needs
# a C++ compiler.
# Seen: outputs differ by less than 1e-5; the eager gradient's norm is some hundreds, the compiled one's is 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 diffusers==0.42.1 transformers==5.23.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import torch
from diffusers.models.unets.unet_2d_blocks import UpBlock2D

torch.manual_seed(0)
block = UpBlock2D(
    in_channels=32, prev_output_channel=64, out_channels=64, temb_channels=128, num_layers=2, resnet_groups=8
).requires_grad_(False)
compiled = torch.compile(block)
hidden, temb = torch.randn(1, 64, 8, 8), torch.randn(1, 128)
skips = (torch.randn(1, 32, 8, 8), torch.randn(1, 64, 8, 8))


def run(module):
    x = hidden.clone().requires_grad_()
    y = module(x, skips, temb)
    (gradient,) = torch.autograd.grad((y * torch.ones_like(y).cumsum(-1)).sum(), x)
    return y.detach(), gradient


eager, compiled_out = run(block), run(compiled)
apart = float((eager[0] - compiled_out[0]).abs().max())
norms = float(eager[1].norm()), float(compiled_out[1].norm())
print(f"outputs differ by {apart:.1e}; norm of the gradient: eager {norms[0]:.4g}, compiled {norms[1]:.4g}")
assert apart < 1e-4 and norms[0] > 1 and norms[1] == 0
PY
