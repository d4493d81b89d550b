"""Short for `python -m msd_lab estimate`; see `--help`."""

from alias import alias

main = alias(__name__, "estimate")
