"""What things cost: seconds, FLOP, memory; and pipelines with random weights to measure them on."""
