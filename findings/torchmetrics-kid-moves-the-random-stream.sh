#!/usr/bin/env bash
# torchmetrics 1.9.0 (torch 2.13.0): KernelInceptionDistance.compute() draws its subsets from torch's global generator. It
# moves the random stream of the run that measures, and computing twice on the same state gives two values.
# Seen: two different values; the next random number is not the one that it would have been.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 torchmetrics==1.9.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import torch
from torch import nn
from torchmetrics.image.kid import KernelInceptionDistance


class Features(nn.Module):
    """Four numbers a picture."""

    num_features = 4

    def forward(self, images):
        return images.float().flatten(1)[:, :4]


torch.manual_seed(0)
kid = KernelInceptionDistance(feature=Features(), subsets=4, subset_size=16)
kid.update(torch.rand(64, 3, 8, 8), real=True)
kid.update(torch.rand(64, 3, 8, 8) ** 1.2, real=False)
state = torch.get_rng_state()
first, second = float(kid.compute()[0]), None
moved = not torch.equal(state, torch.get_rng_state())
kid._computed = None
second = float(kid.compute()[0])
print(f"first {first:.5f}, second {second:.5f}, the random stream moved: {moved}")
assert moved and first != second
PY
