"""Short for `python -m msd_lab evaluate`; see `--help`."""

from alias import alias

main = alias(__name__, "evaluate")
