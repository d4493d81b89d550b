"""MSD on 2D densities with a known truth: densities, denoisers, experiments, page."""
