"""Where the data that ships with the harness lies, in a checkout and in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Returns the folder `conf`, `datasets` or `leaderboards`, beside the checkout or in the wheel."""
    in_wheel = _PACKAGE / "_shipped" / name
    return in_wheel if in_wheel.is_dir() else _PACKAGE.parent / name


def choices(group: str) -> list[str]:
    """Returns the configurations of a Hydra group by name, in order."""
    return sorted(p.stem for p in (shipped("conf") / group).glob("*.yaml"))


def stickers() -> Path:
    """Returns the data folder of the embedded world."""
    return shipped("datasets") / "stickers"


def embedded(path: str, home: Path) -> Path:
    """Returns `home/NAME` for `embedded:NAME`, and any other path as it is."""
    return home / path.removeprefix("embedded:") if path.startswith("embedded:") else Path(path)


def weights() -> Path:
    """Returns the folder of the embedded world's trained models."""
    return _PACKAGE / "stickers" / "weights"
