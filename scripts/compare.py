"""Short for `python -m msd_lab compare`; see `--help`."""

from alias import alias

main = alias(__name__, "compare")
