"""The method measured on 2D densities whose truth is known: densities, denoisers, experiments, the page."""
