"""Short for `python -m msd_lab train`; see `--help`."""

from alias import alias

main = alias(__name__, "train")
