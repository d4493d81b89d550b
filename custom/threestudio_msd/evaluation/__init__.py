"""What finished runs are worth: images read back, features, metrics, grids of runs, and the report.

Needs no threestudio, except to read the frames of a run's path. Importing this package imports none of it:
`metrics` alone is light.
"""
