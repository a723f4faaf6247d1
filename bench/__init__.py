"""Concept Bench: trains, prompts and scores text-to-image customization and erasing methods."""

import os

# On a machine shared with other processes, OpenMP's default spin-wait is up to a hundred times
# slower than sleeping. It is read once, when torch is imported, so it is set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
