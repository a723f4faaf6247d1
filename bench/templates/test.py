"""What new_method promises."""

from __future__ import annotations

from bench.__main__ import main


def test_it_keeps_the_contract() -> None:
    assert main(["check", "new_method"]) == 0


# Beside the contract, hold the code against the paper: an equation on numbers worked out by hand, what a scale of 0
# leaves, what a limit comes to. tests/test_methods.py of the harness has such tests of every method it ships.
