"""Configuration, files and small helpers."""
