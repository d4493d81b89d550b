"""The error that ends a launch with one line."""


class LaunchError(Exception):
    """What was asked for cannot be done; the message is one line and names the key, file or package."""
