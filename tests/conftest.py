"""What every test module shares."""

from __future__ import annotations

import os

# Before anything imports torch: spinning OpenMP threads are a hundred times slower on a busy machine.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

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
