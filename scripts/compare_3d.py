"""Short for `python -m msd_lab scenes`; see `--help`."""

from alias import alias

main = alias(__name__, "scenes")
