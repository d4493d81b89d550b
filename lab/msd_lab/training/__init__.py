"""The training of the tiny prior and of its judges."""
