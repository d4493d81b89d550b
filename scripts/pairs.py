"""Short for `python -m msd_lab pairs`; see `--help`."""

from alias import alias

main = alias(__name__, "pairs")
