"""Short for `python -m msd_lab conformance`; see `--help`."""

from alias import alias

main = alias(__name__, "conformance")
