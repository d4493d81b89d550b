#!/usr/bin/env bash
# trimesh 5.2.0: a mesh with TextureVisuals(uv, image) exported as GLB gets the factor .4 on its base colour, which
# every reader multiplies the texture by, and no metallic factor, which glTF then takes for 1 (fully metallic).
# Seen: baseColorFactor [0.4, 0.4, 0.4, 1.0], no metallicFactor.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check trimesh==5.2.0 pillow numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import struct

import numpy as np
import trimesh
from PIL import Image

uv = np.array([[0, 0], [1, 0], [0, 1]])
visual = trimesh.visual.TextureVisuals(uv=uv, image=Image.new("RGB", (4, 4), (200, 100, 50)))
mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], visual=visual, process=False)
glb = mesh.export(file_type="glb")
length = struct.unpack("<I", glb[12:16])[0]
material = json.loads(glb[20 : 20 + length])["materials"][0]["pbrMetallicRoughness"]
print({key: value for key, value in material.items() if "Factor" in key})
assert np.allclose(material["baseColorFactor"][:3], 0.4, atol=0.01)
assert "metallicFactor" not in material
PY
