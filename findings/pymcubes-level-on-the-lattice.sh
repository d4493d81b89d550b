#!/usr/bin/env bash
# PyMCubes 0.1.6: a lattice value exactly at the level counts as below it. A box whose faces lie on lattice points
# therefore loses its corners and edges when the inside is positive, and keeps them when the sign is turned: two
# surfaces of one and the same shape.
# Seen (box of side 4, volume 64): 45.3 with u positive inside, 64.0 with -u.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check PyMCubes==0.1.6 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import mcubes
import numpy as np

axis = np.arange(9) - 4.0
x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
box = 2.0 - np.maximum(np.maximum(abs(x), abs(y)), abs(z))  # 0 on the faces of a cube of side 4


def volume(field):
    vertices, faces = mcubes.marching_cubes(field, 0.0)
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return abs((a * np.cross(b, c)).sum() / 6)


positive, negative = volume(box), volume(-box)
print(f"positive inside {positive:.1f}, negative inside {negative:.1f}, true 64")
assert abs(positive - 64) > 10 and abs(negative - 64) < 0.5
PY
