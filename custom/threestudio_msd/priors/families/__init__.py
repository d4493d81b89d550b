"""Families of pretrained models, one file each, imported when `FAMILIES` is asked for a
pipeline of it.
"""

MODULES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusion3Pipeline": "sd3",
    "IFPipeline": "if_",
    "FluxPipeline": "flux",
    "Flux2KleinPipeline": "flux2_klein",
    "ChromaPipeline": "chroma",
    "Lumina2Pipeline": "lumina2",
    "PixArtSigmaPipeline": "pixart_sigma",
    "PRXPixelPipeline": "prx_pixel",
    "QwenImagePipeline": "qwen_image",
    "SanaPipeline": "sana",
    "ZImagePipeline": "z_image",
}
"""Module in this folder by the pipeline's class in diffusers."""
