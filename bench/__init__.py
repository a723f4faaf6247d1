"""Concept Bench: trains, prompts and scores text-to-image customization and erasing methods."""

import os

# On a machine shared with other processes, OpenMP's default spin-wait is up to a hundred times slower
# than sleeping; but sleeping at once makes small models half as fast on an idle one. So a thread spins
# for some microseconds, then sleeps. Read once, when torch is imported, and therefore set before that.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "100000")

__version__ = "0.1.0"
