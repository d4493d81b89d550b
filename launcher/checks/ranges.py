"""What settings may hold whose dataclasses do not say so: threestudio's own, by name."""

from collections.abc import Mapping
from typing import Any, Literal

from threestudio_msd.fields import choice, number, pair, scheduled

INFINITE = ("kernel_interval", "inversion_limit")  # where infinity means "without limit"

FAR = 1000  # world units; what scenes lie in is about one of them wide

COUNT, POSITIVE, UNSIGNED, PART = {"least": 1}, {"above": 0}, {"least": 0}, {"least": 0, "most": 1}


def _metadata(**fields: Any) -> dict[str, Mapping[str, Any]]:
    return {name: made.metadata for name, made in fields.items()}


NETWORKS = {
    "otype": (str, {}),
    **{
        name: (int, number(**COUNT).metadata)
        for name in ("n_levels", "n_features_per_level", "base_resolution")
    },
    **{name: (int, number(**UNSIGNED).metadata) for name in ("start_level", "start_step", "update_steps")},
    "log2_hashmap_size": (int, number(least=1, most=30).metadata),
    "per_level_scale": (float, number(least=1).metadata),
    "n_frequencies": (int, number(**COUNT).metadata),
    "degree": (int, number(**COUNT).metadata),
    "n_neurons": (int, number(**COUNT).metadata),
    "n_hidden_layers": (int, number(**UNSIGNED).metadata),
    "activation": (str | None, {}),
    "output_activation": (str | None, {}),
}
"""What the free blocks `..._encoding_config` and `..._network_config` of threestudio's geometries hold."""

KINDS = {
    "isosurface_threshold": float | Literal["auto"],
    "isosurface_outlier_n_faces_threshold": float,
    "color": tuple[float, float, float],
}
"""Annotations of fields that threestudio leaves open."""

RANGES = _metadata(
    seed=number(least=0, below=2**64),
    # prompt processors
    overhead_threshold=number(least=-90, most=90),
    front_threshold=number(least=0, most=180),
    back_threshold=number(least=0, most=180),
    # guidance
    guidance_scale=scheduled(0.0),
    min_step_percent=scheduled(0.0, **PART),
    max_step_percent=scheduled(0.0, **PART),
    grad_clip=scheduled(0.0, **UNSIGNED),
    # cameras
    elevation_range=pair(least=-90, most=90),
    azimuth_range=pair(least=-360, most=360),
    camera_distance_range=pair(**POSITIVE, most=FAR),
    fovy_range=pair(above=0, below=180),
    light_distance_range=pair(**POSITIVE, most=FAR),
    eval_elevation_deg=number(least=-90, most=90),
    eval_camera_distance=number(**POSITIVE, most=FAR),
    eval_fovy_deg=number(above=0, below=180),
    eval_batch_size=number(**COUNT),
    eval_height=number(**COUNT),
    eval_width=number(**COUNT),
    n_val_views=number(**COUNT),
    n_test_views=number(**COUNT),
    camera_perturb=number(**UNSIGNED, most=FAR),
    center_perturb=number(**UNSIGNED, most=FAR),
    up_perturb=number(**UNSIGNED, most=FAR),
    light_position_perturb=number(**UNSIGNED, most=FAR),
    progressive_until=number(**UNSIGNED),
    # scenes
    radius=number(**POSITIVE, most=FAR),
    num_samples_per_ray=number(**COUNT, most=4096),
    eval_chunk_size=number(**COUNT),
    isosurface_method=choice("mt", ("mt", "mc-cpu")),
    isosurface_resolution=number(least=2, most=1024),
    isosurface_outlier_n_faces_threshold=number(**UNSIGNED),
    sharpness=number(**POSITIVE),
    init_scale=number(**UNSIGNED),
    color=number(**PART),
    eval_color=number(**PART),
    ambient_light_color=number(**PART),
    diffuse_light_color=number(**PART),
    ambient_only_steps=number(**UNSIGNED),
    diffuse_prob=number(**PART),
    textureless_prob=number(**PART),
    near_plane=number(**UNSIGNED),
    far_plane=number(**POSITIVE),
    texture_size=number(least=1, most=16384),
    texture_format=choice("jpg", ("jpg", "png")),
    n_input_dims=number(**COUNT),
    n_feature_dims=number(**UNSIGNED),
    density_blob_std=number(**POSITIVE),
    finite_difference_normal_eps=number(**POSITIVE),
    random_aug_prob=number(**PART),
    context_type=choice("gl", ("gl", "cuda")),
    save_video=choice(False, (True, False)),
)
