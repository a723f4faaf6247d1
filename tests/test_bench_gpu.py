"""The benchmark of GPUs: its code runs on small networks, and without a GPU it says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "bench_gpu.py"


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = _run()
    assert (done.returncode, done.stdout) == (0, "no GPU here: nothing was measured\n")


def test_every_table_comes_out_on_small_networks() -> None:
    done = _run("--tiny", "--device", "cpu", "--batch", "1", "--steps", "2", "--repeats", "1")
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()]
    timed = [line for line in lines if line[0] in ("drawing", "training step", "judging")]
    assert len(timed) == 11  # five models, and the judge
    assert all(float(ours) > 0 and float(stock) > 0 and float(ratio) > 0 for _, ours, stock, ratio, _ in timed)
    trains = [line[0] for line in lines if len(line) == 3]
    assert sum("LoRA" in t for t in trains) == sum(t == "every weight" for t in trains) == 5
