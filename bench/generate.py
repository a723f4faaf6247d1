"""Prompt grid → pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.progress import track

if TYPE_CHECKING:
    from PIL.Image import Image

    from bench.backbone.base import Backbone
    from bench.grid import Cell, PromptGrid


def generate(
    backbone: Backbone, grid: PromptGrid, folder: Path, *, complete: bool, steps: int, guidance_scale: float,
    batch_size: int | Literal["auto"], label: str, **rules: Any,
) -> None:  # fmt: skip
    """Makes every picture of the grid that the folder does not hold yet.

    Args:
        backbone: the model, with an adapter applied or not.
        grid: what to make.
        folder: where `<channel>-<prompt>-<seed>.png` go, and `manifest.json` at the end.
        complete: whether to ask with the concept's token (the customized model) or without it (the base model).
        steps: denoising steps.
        guidance_scale: classifier-free guidance.
        batch_size: pictures at a time, as `bench.backbone.batches` reads it; no picture depends on it by more than
            rounding, and where memory runs out it is halved.
        label: what the progress bar says.
        rules: of guidance and gates, as `bench.backbone.sample` has them.

    Raises:
        BenchError: there is no memory for one picture at a time.
    """
    from bench.backbone.batches import batch_size as fitting
    from bench.backbone.batches import in_batches

    def drawn(batch: Sequence[Cell], count: int = steps) -> list[Image]:
        prompts = [c.prompt.complete if complete else c.prompt.base for c in batch]
        base = [c.prompt.base for c in batch]
        seeds = [c.noise_seed() for c in batch]
        return backbone.sample(prompts, seeds, count, guidance_scale, base=base, **rules)

    def made(batch: Sequence[Cell]) -> Sequence[Cell]:
        for cell, image in zip(batch, drawn(batch), strict=True):
            partial = folder / f".{cell.key}.partial"
            image.save(partial, format="PNG")
            partial.replace(folder / f"{cell.key}.png")
        return batch

    cells = grid.cells
    if not _there(cells, folder):
        size = fitting(batch_size, backbone, lambda: drawn(cells[:1], 1))
        # A batch with a missing picture is made whole again: the last bits of a picture depend on what it
        # was computed with, and a resumed run must give what an uninterrupted one gives.
        whole = [cells[i : i + size] for i in range(0, len(cells), size)]
        left = [c for batch in whole if not _there(batch, folder) for c in batch]
        pictures = (cell for batch in in_batches(left, size, made, label) for cell in batch)
        for _ in track(pictures, label, len(cells), len(cells) - len(left)):
            pass
    manifest = [{"file": f"{c.key}.png", **c.prompt.model_dump(), "seed": c.seed} for c in grid.cells]
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))


def _there(cells: Sequence[Cell], folder: Path) -> bool:
    return all((folder / f"{c.key}.png").exists() for c in cells)
