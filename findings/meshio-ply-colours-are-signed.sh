#!/usr/bin/env bash
# meshio 5.3.5: a binary PLY file's uchar properties, such as vertex colours, are read as signed bytes.
# Seen: colours 200, 100, 255 come back as -56, 100, -1 (int8).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check meshio==5.3.5 numpy
cd "$work"
"$work/venv/bin/python" - <<'PY'
import struct
from pathlib import Path

import meshio

header = (
    "ply\nformat binary_little_endian 1.0\nelement vertex 3\n"
    "property float x\nproperty float y\nproperty float z\n"
    "property uchar red\nproperty uchar green\nproperty uchar blue\n"
    "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
)
corners = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0)]
vertices = b"".join(struct.pack("<fffBBB", *corner, 200, 100, 255) for corner in corners)
Path("one.ply").write_bytes(header.encode() + vertices + struct.pack("<Biii", 3, 0, 1, 2))
data = meshio.read("one.ply").point_data
found = [int(data[name][0]) for name in ("red", "green", "blue")]
print(found, data["red"].dtype)
assert found == [-56, 100, -1]
PY
