"""The stages of a run: train, generate, score, record."""
