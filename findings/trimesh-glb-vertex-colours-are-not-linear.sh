#!/usr/bin/env bash
# trimesh 5.2.0: vertex colours, which are sRGB everywhere else in trimesh, are written to GLB's COLOR_0 as they are,
# where glTF 2.0 says linear light; read again by trimesh they look right, in readers that follow glTF too light.
# Seen: sRGB (200, 100, 50) stored as 200, 100, 50; linear light would be 147, 32, 8.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check trimesh==5.2.0 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import json
import struct

import numpy as np
import trimesh

colours = np.tile(np.array([200, 100, 50, 255], np.uint8), (3, 1))
mesh = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], vertex_colors=colours, process=False)
glb = mesh.export(file_type="glb")
length = struct.unpack("<I", glb[12:16])[0]
tree, binary = json.loads(glb[20 : 20 + length]), glb[28 + length :]
accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
start = tree["bufferViews"][accessor["bufferView"]].get("byteOffset", 0) + accessor.get("byteOffset", 0)
stored = list(binary[start : start + 3])
srgb = np.array([200, 100, 50]) / 255
linear = np.round(255 * np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)).astype(int)
print("stored", stored, "linear light", linear.tolist())
assert stored == [200, 100, 50] and stored != linear.tolist()
PY
