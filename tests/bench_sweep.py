"""What a further row of a sweep costs against the same row alone; run by hand: `python tests/bench_sweep.py`.

For every pair, in one run: the row alone (a process and a root of its own), and a sweep of a first row and this one.
The marginal row's time is the sweep's from the first row's end to its own end. Exits 1 if a ratio is above its limit.
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
# the first row of the sweep and the row that is measured, what both have in common, and whether the limit is for it:
# what a row trains is nobody else's, so one that trains for long cannot come to half by what is shared
PAIRS = {
    "erasing in closed form": ("+method=none,uce", "concept=erase_cat", True),
    "a LoRA, trained": ("+method=none,dreambooth_lora", "concept=racing_car", False),
    "the same training under another gate": ("gate=closed,open", "+method=spm concept=erase_cat", True),
}


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
    for name, (swept, common, held) in PAIRS.items():
        shared = [*common.split(), f"model={options.model}"]
        field, _, values = swept.partition("=")
        (alone,) = timed([f"{field}={values.split(',')[1]}", *shared])
        first, _, end = timed(["-m", swept, *shared])
        worst = max(worst, (end - first) / alone) if held else worst
        limit = f"{LIMIT}" if held else "none: its own training"
        ratio = f"{alone:.1f} | {end - first:.1f} | {(end - first) / alone:.2f}"
        sys.stdout.write(f"| {name}, `{swept}` | {ratio} | {limit} |\n")
        sys.stdout.flush()
    return 0 if worst <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
