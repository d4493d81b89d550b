"""Families of pretrained models, one file each, imported when `FAMILIES` is asked for a
pipeline of it.
"""

MODULES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "IFPipeline": "if_",
    "FluxPipeline": "flux",
}
"""Module in this folder by the pipeline's class in diffusers."""
