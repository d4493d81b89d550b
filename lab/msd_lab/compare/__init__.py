"""Grids of runs: methods, prompts and seeds at equal budgets; ablations, searches, variances."""
