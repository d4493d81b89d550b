"""The method proven on 2D densities whose truth is known: densities, denoisers, experiments, tables and figures."""
