"""What every test module shares."""

from __future__ import annotations

import os

# Before anything imports torch: threads that spin for ever are a hundred times slower on a busy machine.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "100000"
if "PYTEST_XDIST_WORKER" in os.environ:  # each process its core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def dataset(root: Path) -> Path:
    """The embedded dataset."""
    return root / "datasets" / "stickers"
