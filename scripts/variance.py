"""Short for `python -m msd_lab variance`; see `--help`."""

from alias import alias

main = alias(__name__, "variance")
