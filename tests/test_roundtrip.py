"""The truth of a round trip is the untouched model, and the benchmark finds it: learned, undone, the same pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch

from bench import backbone, values
from bench.__main__ import main
from bench.adapter import Adapter
from bench.row import Row
from tests import tiny

if TYPE_CHECKING:
    from bench.concept import Concept
    from bench.workbench import Workbench

CHANNELS = ("class", "unrelated")


@dataclass
class Undo:
    """The eraser that is right by construction: it takes a share of what was learned off the weights again.

    Attributes:
        path: of the untouched model.
        share: how much it takes off.
    """

    path: str
    share: float = 1.0

    tasks: ClassVar[tuple[str, ...]] = ("roundtrip",)
    families: ClassVar[tuple[str, ...]] = ("epsilon",)

    def train(self, workbench: Workbench, concept: Concept) -> Adapter:
        """Returns the untouched model's weights less those learned."""
        truth = dict(backbone.load("epsilon", Path(self.path)).denoiser.named_parameters())
        learned = workbench.backbone.denoiser.named_parameters()
        now = {n.replace(".base_layer.", "."): p for n, p in learned if "lora_" not in n}
        change = {n: self.share * (truth[n] - p).detach() for n, p in now.items() if not torch.equal(truth[n], p)}
        assert change
        return workbench.edited(change)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.unet_folder(tmp_path_factory.mktemp("tiny"))


def restored(model: Path, root: Path, monkeypatch: pytest.MonkeyPatch, *method: str) -> dict[str, dict[str, float]]:
    """Runs a round trip. Returns source → channel → restoration."""
    whole = values.method_file

    def little(name: str, field: str) -> dict[str, Any]:
        return whole(name, field) | ({"steps": 8, "lr": 0.05} if field == "customizer" else {})

    monkeypatch.setattr(values, "method_file", little)
    assert main([
        *method, "concept=roundtrip_cat", "model=sticker-unet", "model.name=tiny", f"model.path={model}",
        "model.steps=4", "protocol.seeds={concept: 1, class: 2, unrelated: 1}",
        "protocol.metrics=[metrics.preservation.restoration]", f"root={root}",
    ]) == 0  # fmt: skip
    (path,) = (root / (method[0].rpartition(".")[2].rpartition("=")[2])).glob("*/row.json")
    row = Row.model_validate_json(path.read_text())
    sides = {"model": row.measured, **row.anchors}
    return {source: {c: sides[source][f"restoration/{c}"].value for c in CHANNELS} for source in ("model", "learned")}


def test_undoing_restores_the_untouched_model_and_half_of_it_half_way(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undo = ["+method._target_=tests.test_roundtrip.Undo", f"+method.path={model}"]
    whole = restored(model, tmp_path / "whole", monkeypatch, *undo)
    half = restored(model, tmp_path / "half", monkeypatch, *undo, "method.share=0.5")
    for channel in CHANNELS:
        assert whole["learned"][channel] == half["learned"][channel] > 0.01  # learning moved it
        assert whole["model"][channel] == pytest.approx(0, abs=1e-4)
        assert 1e-3 < half["model"][channel] < half["learned"][channel]


def test_an_eraser_that_does_nothing_restores_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = restored(model, tmp_path / "runs", monkeypatch, "+method=none")
    assert found["model"] == found["learned"]
