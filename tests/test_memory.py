"""What a training takes beyond what was there before it."""

from __future__ import annotations

import numpy as np

from bench.memory import peak_memory


def test_what_a_block_held_for_a_while_is_seen_and_what_was_there_before_is_not() -> None:
    before = np.ones(40 * 2**20, np.uint8)
    with peak_memory() as peak:
        for _ in range(20):
            held = np.ones(96 * 2**20, np.uint8)  # written to, so that it is really there
            held.sum()
            del held
        most = peak()
    assert before.sum() > 0
    assert 90 <= most < 200
    with peak_memory() as peak:
        pass
    assert peak() < 20
