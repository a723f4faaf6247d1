"""What a further row of a sweep costs against the same row alone; run by hand: `python tests/bench_sweep.py`.

For every pair, in one run: the row alone (a process and a root of its own), and a sweep of a first row and such rows.
A marginal row's time is the sweep's from the first row's end to its own end, shared by the rows in between. A row alone
has every core, as people run it, and a network this small has little use for them; a sweep over processes does.
Exits 1 if a ratio is above its limit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 0.5
ROOT = Path(__file__).parent.parent
# the rows of the sweep, of which the last is also run alone, what all have in common, how the sweep is spread, and
# whether the limit is for it: what a row trains is nobody else's, so by sharing alone one that trains for long cannot
# come to half
PAIRS = {
    "erasing in closed form": ("+method=none,uce", "concept=erase_cat", "", True),
    "the same training under another gate": ("gate=closed,open", "+method=spm concept=erase_cat", "", True),
    "a LoRA, trained, one after the other": ("+method=none,dreambooth_lora", "concept=racing_car", "", False),
    "a LoRA, trained, over processes": (
        "seed=0,1,2,3,4", "+method=dreambooth_lora concept=racing_car",
        f"launcher=joblib launcher.processes={os.cpu_count()}", True,
    ),
}  # fmt: skip


def timed(args: list[str]) -> list[float]:
    """Runs a command in a fresh root. Returns the seconds from its start to each row's end, and to its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    ends, begun = [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench", *args, f"root={folder}"]
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            if " of " in line and ": ok in " in line:
                ends.append(time.monotonic() - begun)
        if process.wait():
            raise SystemExit(f"{' '.join(args)}: exit code {process.returncode}")
    return [*ends, time.monotonic() - begun]


def main() -> int:
    """Measures every pair and writes a table. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="sticker-unet")
    options = parser.parse_args()
    worst = 0.0
    sys.stdout.write("| row | alone, s | in a sweep, s | ratio | limit |\n|---|---|---|---|---|\n")
    for name, (swept, common, spread, held) in PAIRS.items():
        shared = [*common.split(), f"model={options.model}"]
        field, _, values = swept.partition("=")
        (alone,) = timed([f"{field}={values.split(',')[-1]}", *shared])
        first, *others, end = timed(["-m", swept, *shared, *spread.split()])
        marginal = (end - first) / len(others)
        worst = max(worst, marginal / alone) if held else worst
        limit = f"{LIMIT}" if held else "none: its own training"
        ratio = f"{alone:.1f} | {marginal:.1f} | {marginal / alone:.2f}"
        sys.stdout.write(f"| {name}, `{swept}` | {ratio} | {limit} |\n")
        sys.stdout.flush()
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
