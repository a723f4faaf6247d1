"""Numbers in words, words in file names. No torch."""

from __future__ import annotations

import re


def counted(number: int, what: str) -> str:
    """Returns `1 concept`, `2 concepts`, `2,000 concepts`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def brief(number: float) -> str:
    """Returns three figures, and thousands as they are read: `0.528`, `10,000`."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:z.3g}"


def slug(name: str) -> str:
    """Returns a name as a part of a file's: `fidelity × cost` is `fidelity-cost`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def quoted(value: str) -> str:
    """Returns a text as the value of an override: in quotes where Hydra would read it as something else."""
    if re.fullmatch(r"[A-Za-z_][\w.-]*", value) and value.lower() not in ("true", "false", "null", "nan", "inf"):
        return value
    ended = re.sub(r"(\\+)$", r"\1\1", value)  # within quotes a backslash stands for itself but before a quote
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", ended) + "'"
