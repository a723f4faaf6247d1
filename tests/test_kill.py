"""A sweep killed -9 and continued gives the rows of one that was not, and computes nothing twice.

`BENCH_KILLS=20 python -m pytest tests/test_kill.py` kills at twenty points; by default there are three.

What a kill may cost is what was in the making: the training steps since the last checkpoint (here one is kept after
every step; a real run keeps one every 15 s) and one batch of pictures. No stage that was finished is made again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tiny import run_args, unet_folder

from bench.row import Row

KILLS = int(os.environ.get("BENCH_KILLS", "3"))
SERVER = multiprocessing.get_context("forkserver")  # a process that has torch loaded and forks: a sweep starts at once

HEAVY = [
    "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion", "transformers.models.clip.modeling_clip",
    "transformers.models.vit.modeling_vit", "open_clip", "peft", "pyarrow.parquet", "bench.stages.score",
    "bench.page.report", "bench.run", "bench.workbench", "bench.backbone.sd", "bench.backbone.base", "rich.progress",
    "hydra",
]  # fmt: skip


def _sweep(root: Path, model: Path, work: Path) -> None:
    """Runs the sweep, with a line in `work`, when it was, for every training step begun and every batch of pictures."""
    from bench import checkpoint, workbench
    from bench.__main__ import main
    from bench.backbone.base import Backbone

    def counted(cls: type, name: str) -> None:
        original = getattr(cls, name)

        def call(self: Any, *args: Any, **options: Any) -> Any:
            with work.open("a") as f:
                f.write(f"{time.monotonic()}\n")
            return original(self, *args, **options)

        setattr(cls, name, call)

    counted(workbench.Workbench, "batch")
    counted(Backbone, "sample")
    checkpoint.Checkpoint.due = lambda self: True  # type: ignore[method-assign]
    methods = "+method=dreambooth_lora,textual_inversion"
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    sys.exit(main(["-m", methods, "concept=poodle,racing_car", *run_args(model, steps=12), f"root={root}"]))


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _run(root: Path, model: Path, work: Path, kill_after: int | None, pause: float = 0.0) -> bool:
    """Runs the sweep in a process of its own, killed after so much more work. Returns whether it ended by itself.

    `pause` is what a piece of work and what comes after it may take: the kill falls anywhere into it.
    """
    process = SERVER.Process(target=_sweep, args=(root, model, work))
    begun = _lines(work)
    process.start()
    while process.is_alive() and (kill_after is None or _lines(work) < begun + kill_after):
        time.sleep(0.001)
    if process.is_alive():
        time.sleep(random.Random(begun).random() * pause)
        os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def _digests(root: Path) -> dict[str, str]:
    files = sorted(root.glob("*/*/row.json"))
    return {str(p.relative_to(root)): Row.model_validate_json(p.read_text()).digest() for p in files}


def _made(root: Path) -> Counter[tuple[str, str]]:
    lines = (root / "store" / "log.jsonl").read_text().splitlines()
    return Counter((said["stage"], said["key"]) for said in map(json.loads, lines))


@pytest.mark.timeout(60 + 30 * KILLS)
def test_a_killed_sweep_goes_on_to_the_same_rows_and_nothing_is_made_twice(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    SERVER.set_forkserver_preload(HEAVY)
    model = unet_folder(tmp_path_factory.mktemp("tiny"))
    whole, killed, work = tmp_path / "whole", tmp_path / "killed", tmp_path / "work"
    work.mkdir()
    assert _run(whole, model, work / "whole", None)
    expected, total = _digests(whole), _lines(work / "whole")
    assert len(expected) == 4 and total > 4 * 12
    times = [float(line) for line in (work / "whole").read_text().split()]
    # the scoring of a run lies between two pieces of work
    pauses = [0.0, *(after - before for before, after in pairwise(times))]

    points = sorted(random.Random(KILLS).choices(range(total), k=KILLS))
    ended = [_run(killed, model, work / "killed", b - a, pauses[b]) for a, b in zip([0, *points], points, strict=False)]
    assert ended.count(False) >= 2 * KILLS // 3  # it was in fact killed on the way
    assert _run(killed, model, work / "killed", None)

    assert _digests(killed) == expected
    made = _made(killed)
    assert max(made.values()) == 1
    stages = {(p.parent.parent.name, p.parent.name) for p in killed.glob("store/*/*/done.json")}
    assert stages == {(p.parent.parent.name, p.parent.name) for p in whole.glob("store/*/*/done.json")}
    assert len(stages) - len(made) <= KILLS  # a kill between a stage's end and its line in the log
    assert _lines(work / "killed") <= total + KILLS  # at most what was in the making, each time
