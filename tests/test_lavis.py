"""Our BLIP-2 scores against LAVIS's own, in LAVIS's own environment."""

from __future__ import annotations

import pytest

from tools import lavis_parity


def test_the_scores_are_those_of_lavis() -> None:
    if not (lavis_parity.ENVIRONMENT / "ready").exists():
        pytest.skip("LAVIS's environment is not built; `python tools/lavis_parity.py` builds it (about 6 GB)")
    assert max(lavis_parity.compare().values()) <= 1e-4
