"""How long a board of 10,000 rows takes: python tests/bench_leaderboard.py [ROWS]

The rows are a committed board's, given to more methods, concepts and seeds. What is timed, in seconds of one processor:
reading and validating them, computing, and rendering README.md and index.html. Static figures are drawn apart and only
where they changed.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from bench.boards import figures, tables
from bench.boards import page as board_page
from bench.boards.analysis import analyse
from bench.boards.leaderboard import read

ROOT = Path(__file__).parent.parent
METHODS, SEEDS = 50, 5


def write(folder: Path, rows: int) -> None:
    """Writes rows made of a committed board's, each value moved a little."""
    made_of = [json.loads(p.read_text()) for p in sorted((ROOT / "leaderboards").glob("*-subject/rows/*.json"))]
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(rows):
        row = made_of[index % len(made_of)]
        method, rest = index % METHODS, index // METHODS
        row |= {"method": f"method{method}", "concept": f"concept{rest // SEEDS}", "seed": rest % SEEDS}
        shift = 0.05 * rng.standard_normal()
        for value in row["measured"].values():
            value["value"] += shift * (method / METHODS)
        (folder / f"{index}.json").write_text(json.dumps(row))


def main(rows: int) -> None:
    """Writes a line a step."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "board"
        write(folder / "rows", rows)
        gc.disable()  # as the verb does
        start = time.process_time()
        found = read(folder)
        took_read = time.process_time() - start
        board = analyse(found)
        took_compute = time.process_time() - start - took_read
        pages = [tables.render(board), board_page.render(board, folder / "pictures")]
        took = time.process_time() - start
        heavy = sorted({"torch", "matplotlib", "pandas", "scipy"} & set(sys.modules))
        rendered = took - took_read - took_compute
        said = [
            f"{len(found)} rows: read {took_read:.2f} s, compute {took_compute:.2f} s, render {rendered:.2f} s",
            f"pages of {len(pages[0]) / 1e3:.0f} and {len(pages[1]) / 1e3:.0f} kB; heavy imports: {heavy}",
        ]
        start = time.process_time()
        drawn = figures.write(board, folder)
        said.append(f"{len(drawn)} figures, drawn apart: {time.process_time() - start:.2f} s")
        sys.stdout.write("\n".join(said) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
