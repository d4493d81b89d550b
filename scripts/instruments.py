"""Short for `python -m msd_lab instruments`; see `--help`."""

from alias import alias

main = alias(__name__, "instruments")
