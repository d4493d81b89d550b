"""Short for `python -m msd_lab bench`; see `--help`."""

from alias import alias

main = alias(__name__, "bench")
