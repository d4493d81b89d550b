"""Triangle meshes."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Mesh:
    """Vertices `v_pos [V, 3]` and triangles `t_pos_idx [F, 3]`."""

    def __init__(self, v_pos: Tensor, t_pos_idx: Tensor) -> None:
        self.v_pos, self.t_pos_idx = v_pos, t_pos_idx

    @property
    def v_nrm(self) -> Tensor:
        """Unit normals of vertices `[V, 3]`: their triangles' mean by area, +z if they
        have no area.
        """
        corners = self.v_pos[self.t_pos_idx]
        face = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        sums = torch.zeros_like(self.v_pos).index_add(
            0, self.t_pos_idx.flatten(), face.repeat_interleave(3, 0)
        )
        up = sums.new_tensor([0.0, 0.0, 1.0])
        return F.normalize(torch.where((sums**2).sum(-1, keepdim=True) > 1e-20, sums, up), dim=-1)

    def remove_outlier(self, outlier_n_faces_threshold: int | float) -> "Mesh":
        """The mesh without components of fewer triangles than a number, or than a part
        of the largest's.
        """
        if self.v_pos.requires_grad or not len(self.t_pos_idx):
            return self
        import trimesh

        mesh = trimesh.Trimesh(
            self.v_pos.detach().cpu().numpy(), self.t_pos_idx.detach().cpu().numpy(), process=False
        )
        parts = trimesh.graph.connected_components(mesh.face_adjacency, nodes=np.arange(len(mesh.faces)))
        least = outlier_n_faces_threshold
        if isinstance(least, float):
            least = int(max(map(len, parts)) * least)
        mesh.update_faces(np.sort(np.concatenate([part for part in parts if len(part) >= least])))
        mesh.remove_unreferenced_vertices()
        vertices = torch.from_numpy(np.array(mesh.vertices)).to(self.v_pos)
        return Mesh(vertices, torch.from_numpy(np.array(mesh.faces)).to(self.t_pos_idx))
