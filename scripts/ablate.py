"""Short for `python -m msd_lab ablate`; see `--help`."""

from alias import alias

main = alias(__name__, "ablate")
