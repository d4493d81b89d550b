"""What a texture costs: of the full surface, and of a simplified one."""

from __future__ import annotations

import time
from collections.abc import Iterator

import threestudio
import torch

RESOLUTION, SIZE = 128, 512


def texturing(surfaces: tuple[int, ...]) -> Iterator[dict[str, object]]:
    """Export a scene's ball as a GLB with a texture, once for each number of faces.

    Args:
        surfaces: Numbers of faces; 0 is the full surface.
    """
    grid = {"density_blob_std": 0.45, "isosurface_resolution": RESOLUTION}
    parts = {
        "geometry": threestudio.find("msd-multiscale-grid")(grid),
        "material": threestudio.find("no-material")({"n_output_dims": 3}),
        "background": torch.nn.Identity(),
    }
    full = len(parts["geometry"].isosurface().t_pos_idx)
    for faces in surfaces:
        settings = {"faces": faces, "texture_size": SIZE}
        start = time.process_time()
        (output,) = threestudio.find("msd-mesh-exporter")(settings, **parts)()
        seconds = time.process_time() - start
        yield {"faces": faces or full, "seconds": seconds, "file": output.save_name}
