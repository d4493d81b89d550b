"""What `launch.py` does: choose the host, check the config, run Lightning's trainer."""
