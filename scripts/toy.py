"""Short for `python -m msd_lab toy`; see `--help`."""

from alias import alias

main = alias(__name__, "toy")
