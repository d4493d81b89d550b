"""Real captioned pictures as a prior whose denoiser, mean shift, modes and guidance are known exactly."""
