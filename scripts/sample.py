"""Short for `python -m msd_lab sample`; see `--help`."""

from alias import alias

main = alias(__name__, "sample")
