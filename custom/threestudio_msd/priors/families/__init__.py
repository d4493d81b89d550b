"""The table of families, one file each: see `Family`."""
