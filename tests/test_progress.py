"""What a log says of the time left."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from bench import progress


@pytest.mark.parametrize(("first", "said"), [
    (1.0, ["steps: 4 of 10, 6 s left", "steps: 8 of 10, 2 s left"]),
    (60.0, ["steps: 1 of 10", "steps: 5 of 10, 5 s left", "steps: 9 of 10, 1 s left"]),
])  # fmt: skip
def test_a_slow_first_item_is_no_measure_of_the_others(
    first: float, said: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(progress, "SILENCE", 3)
    with caplog.at_level(logging.INFO, "bench"):
        for index in progress.track(range(10), "steps", 10):
            clock[0] += 1.0 if index else first
    assert [r.getMessage() for r in caplog.records] == said
