"""Features, metrics and references of images, scenes and meshes, and what is read back
of finished runs.
"""
