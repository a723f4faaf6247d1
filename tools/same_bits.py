"""Shows that the code as it is computes what another revision's computed, bit for bit.

Its trainings, pictures and attacks are then kept (`bench/same_code.json`), those of methods whose files changed too.

python tools/same_bits.py REVISION

Both sides run every method, family and task that both know on random networks (the requests of `tests/test_matrix.py`),
one thread each. What is compared is every tensor file and picture they leave.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BITS = (".safetensors", ".png")


def left(tree: Path, cases: list[list[str]], folders: Path, out: Path) -> Counter[str]:
    """Runs cases with a tree's code. Returns how often each file's hash is left behind."""
    from tests.test_matrix import request  # the same requests for both sides

    out.mkdir()
    asked = [request(name, family, task, folders / family, out / family) for name, family, task in cases]
    (out / "asked.json").write_text(json.dumps(asked))
    code = "import json, sys; from bench.__main__ import main as m; sys.exit(sum(map(m, json.load(open(sys.argv[1])))))"
    env = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with (out / "log").open("w") as log:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-c", code, str(out / "asked.json")],
            cwd=tree,
            env=env,
            stdout=log,
            stderr=log,
            check=False,
        )
    if done.returncode:
        sys.exit(f"{tree}: some runs failed\n{(out / 'log').read_text()[-3000:]}")
    files = [p for p in out.glob("*/store/**/*") if p.suffix in BITS]
    return Counter(hashlib.sha256(p.read_bytes()).hexdigest() for p in files)


def codes(tree: Path) -> dict[str, str]:
    """Returns what a tree calls its code, by what is made with it."""
    env = os.environ | {"PYTHONPATH": str(tree)}
    code = (
        "import json; from bench.names import codes, source_hash; from tools.methods_page import methods; "
        "files = {c.__module__: source_hash(c.__module__ + '.' + c.__name__, 'method') for c in methods().values()}; "
        "print(json.dumps(codes() | files))"
    )
    made = subprocess.run([sys.executable, "-c", code], cwd=tree, env=env, check=True, capture_output=True)  # noqa: S603
    return json.loads(made.stdout)


def main() -> None:
    """Compares, and enters what is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="of the code that made what is to be kept")
    revision = parser.parse_args().revision
    sys.path.insert(0, str(ROOT))
    from tests.test_matrix import CASES, FAMILIES

    known = [list(c) for c in CASES if c[1] in ("flow", "epsilon")]
    with tempfile.TemporaryDirectory() as made:
        work, tree = Path(made), Path(made) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, revision], cwd=ROOT, check=True)  # noqa: S603, S607
        try:
            folders = {family: FAMILIES[family](work / "models" / family) for family in ("flow", "epsilon")}
            before, now = (left(t, known, work / "models", work / n) for t, n in ((tree, "before"), (ROOT, "now")))
            old, new = codes(tree), codes(ROOT)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)  # noqa: S603, S607
    if before != now:
        sys.exit(f"{(before - now).total()} of {before.total()} files are not the same on {len(folders)} families")
    path = ROOT / "bench" / "same_code.json"
    same = json.loads(path.read_text())
    same |= {new[name]: code for name, code in old.items() if new.get(name, code) != code}
    path.write_text(json.dumps(same, indent=1) + "\n")
    sys.stdout.write(f"{before.total()} files of {len(known)} runs, all the same; {path.name} says so\n")


if __name__ == "__main__":
    main()
