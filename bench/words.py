"""Numbers in words. No torch."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Returns `1 concept`, `2 concepts`, `2,000 concepts`."""
    return f"{number:,} {what}{'s' * (number != 1)}"
