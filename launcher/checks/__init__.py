"""Checks of an experiment's settings, made before a model is loaded or a folder is created."""
