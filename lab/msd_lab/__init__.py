"""The laboratory of mean-shift distillation: toys, the tiny world, comparisons, measurements, reports."""
