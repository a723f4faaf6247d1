"""Batches that fit: measured on a GPU that is made up, halved where memory runs out."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.backbone.batches import MOST, ON_CPU, batch_size
from bench.errors import BenchError
from bench.generate import generate
from bench.grid import Cell, Prompt, PromptGrid
from bench.memory import named_shortage

GRID = PromptGrid(
    cells=[Cell(prompt=Prompt(channel="concept", index=i, complete="a", base="a"), seed=0) for i in range(10)]
)


class Small:
    """A model that has memory for so many pictures, each of its own seed."""

    device = torch.device("cpu")

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, list[int]()

    def sample(self, prompts: list[str], seeds: list[int], *args: Any, **rules: Any) -> list[Image.Image]:
        self.asked.append(len(seeds))
        if len(seeds) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has …")
        return [Image.fromarray(np.random.default_rng(s).integers(0, 255, (8, 8, 3)).astype(np.uint8)) for s in seeds]


def _drawn(most: int, folder: Path, size: Any = 8) -> tuple[list[bytes], list[int]]:
    folder.mkdir(exist_ok=True)
    model: Any = Small(most)
    generate(model, GRID, folder, complete=True, steps=1, guidance_scale=1.0, batch_size=size, label="some")
    assert len(json.loads((folder / "manifest.json").read_text())) == len(GRID.cells)
    return [(folder / f"{c.key}.png").read_bytes() for c in GRID.cells], model.asked


def test_pictures_are_the_same_with_a_batch_that_was_halved(tmp_path: Path) -> None:
    plain, asked = _drawn(8, tmp_path / "plain")
    assert asked == [8, 2]
    halved, asked = _drawn(3, tmp_path / "halved")
    assert asked == [8, 4, 2, 2, 2, 2, 2]  # and it stays so
    assert halved == plain
    assert _drawn(1, tmp_path / "one")[0] == plain


def test_without_memory_for_one_picture_the_settings_are_named_and_what_was_made_stays(tmp_path: Path) -> None:
    with pytest.raises(
        BenchError, match=r"some: .*one picture at a time.*model\.memory\.offload.*model\.dtype"
    ) as said:
        _drawn(0, tmp_path)
    assert "\n" not in str(said.value)
    _, asked = _drawn(8, tmp_path)
    assert sum(asked) == 10
    assert _drawn(8, tmp_path)[1] == []


def test_a_batch_of_its_own_choice_is_what_fits_into_free_memory() -> None:
    one, gpu = 2 * 10**9, SimpleNamespace(device=torch.device("cuda"))
    probed: list[int] = []

    def memory(free: int) -> Any:
        return SimpleNamespace(begin=lambda: 10**9, peak=lambda: 10**9 + one, free=lambda: free)

    def size(free: int, said: Any = "auto", backbone: Any = gpu) -> int:
        return batch_size(said, backbone, lambda: probed.append(1), memory(free))

    assert size(20 * 10**9) == 8  # 0.8 · 20 GB / 2 GB
    assert size(10**9) == 1
    assert size(10**12) == MOST
    assert len(probed) == 3
    assert size(20 * 10**9, said=5) == 5
    assert size(20 * 10**9, backbone=SimpleNamespace(device=torch.device("cpu"))) == ON_CPU
    assert len(probed) == 3


def test_a_training_without_memory_names_its_settings_in_one_line() -> None:
    settings = r"training dco: .*method\.batch_size.*gradient_checkpointing"
    with pytest.raises(BenchError, match=settings) as said, named_shortage("training dco", "method.batch_size"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has\nmore")
    assert "\n" not in str(said.value)
    with pytest.raises(ValueError, match="other"), named_shortage("a", "b"):
        raise ValueError("other")


def test_a_judge_that_runs_out_of_memory_goes_on_with_fewer_pictures(tmp_path: Path) -> None:
    from bench.judges.features import FeatureCache
    from bench.judges.pixels import Pixels

    class Narrow(Pixels):
        most, asked = 5, list[int]()

        def images(self, images: Any) -> Any:
            self.asked.append(len(images))
            if len(images) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB. GPU 0 has …")
            return super().images(images)

    files = [tmp_path / f"{i}.png" for i in range(12)]
    for i, path in enumerate(files):
        Image.fromarray(np.full((8, 8, 3), 20 * i, np.uint8)).save(path)
    plain = FeatureCache(tmp_path / "a.sqlite").images(Pixels("p", ""), files)
    judge = Narrow("p", "")
    np.testing.assert_array_equal(FeatureCache(tmp_path / "b.sqlite").images(judge, files), plain)
    assert judge.asked == [12, 6, 3, 3, 3, 3]
    judge.most = 0
    with pytest.raises(BenchError, match=r"judge p: out of memory .*model\.device=cpu would take less"):
        FeatureCache(tmp_path / "c.sqlite").images(judge, files)
