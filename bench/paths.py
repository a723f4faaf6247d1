"""Where the data that ships with the harness lies, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Returns the folder `conf`, `datasets` or `leaderboards`, beside the checkout or in the wheel."""
    checkout = _PACKAGE.parent
    return checkout / name if (checkout / "pyproject.toml").exists() else _PACKAGE / "_shipped" / name


def stickers() -> Path:
    """Returns the data folder of the embedded world."""
    return shipped("datasets") / "stickers"


def weights() -> Path:
    """Returns the folder of the embedded world's trained models."""
    return _PACKAGE / "stickers" / "weights"
