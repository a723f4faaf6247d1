"""Shows that the code as it is computes what another revision's computed, bit for bit.

Its trainings, pictures and attacks are then kept (`bench/same_code.json`), those of methods whose files changed too.

python tools/same_bits.py REVISION

Both sides run every method on the random networks that both know (`tests/matrix.py`), on two of them all it claims, on
the others a task in turn; one thread each. What is compared is every tensor file and picture they leave. Entered are
the hashes of the code for those networks' pipeline classes, and of the methods' own files.
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
sys.path.insert(0, str(ROOT))
from bench.pipelines import class_of  # noqa: E402
from tools.methods_page import methods  # noqa: E402

BITS = (".safetensors", ".png")
FIRST = ("flow", "epsilon", "v")  # the networks of revisions that had one code for all pipeline classes


def left(tree: Path, cases: list[list[str]], folders: Path, out: Path) -> Counter[str]:
    """Runs cases with a tree's code. Returns how often each file's hash is left behind."""
    from tests.matrix import request  # the same requests for both sides

    out.mkdir()
    asked = [request(name, network, task, folders / network, out / network) for name, network, task in cases]
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
    stages = [s for s in out.glob("*/store/*") if s.name != "imagined"]  # trainings start there: they would show it
    files = [p for s in stages for p in s.glob("**/*") if p.suffix in BITS]
    return Counter(hashlib.sha256(p.read_bytes()).hexdigest() for p in files)


def codes(tree: Path) -> dict[str, str]:
    """Returns what a tree calls its code, by what is made with it."""
    env = os.environ | {"PYTHONPATH": str(tree)}
    code = "import json; from bench.names import codes; print(json.dumps(codes()))"
    made = subprocess.run([sys.executable, "-c", code], cwd=tree, env=env, check=True, capture_output=True)  # noqa: S603
    return json.loads(made.stdout)


def sources(tree: Path, names: set[str]) -> dict[str, str]:
    """Returns what a tree calls the files of methods, by file."""
    same = json.loads((tree / "bench" / "same_code.json").read_text())
    modules = {methods()[n].__module__ for n in names}
    files = [tree / f"{m.replace('.', '/')}.py" for m in modules]
    found = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}
    return {name: same.get(own, own) for name, own in found.items()}


def entered(old: dict[str, str], new: dict[str, str], classes: set[str]) -> dict[str, str]:
    """Returns new hash → old, of the code for some pipeline classes; a revision may have had one code for all."""
    mine = {label: code for label, code in new.items() if label.partition("/")[2] in classes}
    before = {label: old.get(label) or old[label.partition("/")[0]] for label in mine}
    return {code: before[label] for label, code in mine.items() if code != before[label]}


def main() -> None:
    """Compares, and enters what is the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", help="of the code that made what is to be kept")
    revision = parser.parse_args().revision
    from tests.matrix import NETWORKS, cases, turns

    with tempfile.TemporaryDirectory() as made:
        work, tree = Path(made), Path(made) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, revision], cwd=ROOT, check=True)  # noqa: S603, S607
        try:
            old, new = codes(tree), codes(ROOT)
            folders = {k: network.write(work / "models" / k) for k, network in NETWORKS.items()}
            classes = {k: class_of(folder) for k, folder in folders.items()}
            both = [k for k in NETWORKS if f"trains/{classes[k]}" in old] or FIRST
            some = [*cases(*FIRST[:2]), *turns(*(k for k in NETWORKS if k not in FIRST[:2]))]
            known = [list(c) for c in some if c[1] in both]
            made_by = [sources(t, {name for name, _, _ in known}) for t in (tree, ROOT)]
            before, now = (left(t, known, work / "models", work / n) for t, n in ((tree, "before"), (ROOT, "now")))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=ROOT, check=True)  # noqa: S603, S607
    if before != now:
        sys.exit(f"{(before - now).total()} of {before.total()} files are not the same on {len(both)} networks")
    path = ROOT / "bench" / "same_code.json"
    same = json.loads(path.read_text())
    same |= entered(old, new, {classes[k] for k in both})
    same |= {made_by[1][f]: own for f, own in made_by[0].items() if made_by[1][f] != own}
    path.write_text(json.dumps(same, indent=1) + "\n")
    sys.stdout.write(f"{before.total()} files of {len(known)} runs, all the same; {path.name} says so\n")


if __name__ == "__main__":
    main()
