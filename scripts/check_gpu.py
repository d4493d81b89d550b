"""Short for `python -m msd_lab check-gpu`; see `--help`."""

from alias import alias

main = alias(__name__, "check-gpu")
