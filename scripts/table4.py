"""Short for `python -m msd_lab table4`; see `--help`."""

from alias import alias

main = alias(__name__, "table4")
