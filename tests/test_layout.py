"""The rules of the layout that no linter knows (docs/architecture.md)."""

from __future__ import annotations

import ast
import hashlib
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from bench.metric import Metric

LIMIT = 48 * 2**20  # what a clone of the repository may carry of weights and artwork


def _sources(root: Path, *folders: str) -> list[Path]:
    found = [p for f in folders for p in (root / f).rglob("*.py") if "templates" not in p.parts]
    assert found
    return found


def test_datasets_is_no_package(root: Path) -> None:
    """A package of that name would shadow Hugging Face's and break diffusers and transformers."""
    assert (root / "datasets").is_dir()
    assert [p for p in (root / "datasets").rglob("*") if p.suffix in (".py", ".pyc", ".pyi")] == []


def test_tests_is_no_package(root: Path) -> None:
    assert not (root / "tests" / "__init__.py").exists()


def _docstrings(tree: ast.Module) -> set[ast.expr]:
    nodes = (n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef))
    return {n.body[0].value for n in nodes if n.body and isinstance(n.body[0], ast.Expr)}


def _words(path: Path) -> Iterator[tuple[int, str]]:
    """Yields every name and string of a file's code; docstrings and comments may cite a paper."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skip = _docstrings(tree)
    for node in ast.walk(tree):
        texts = [getattr(node, f, None) for f in ("id", "attr", "arg", "name", "module", "value")]
        if node not in skip:
            yield from ((getattr(node, "lineno", 0), t) for t in texts if isinstance(t, str))


def test_the_harness_names_no_method_and_no_metric(root: Path) -> None:
    files = [*(root / "methods").glob("[!_]*.py"), *(root / "conf" / "method").glob("*.yaml")]
    methods = {p.stem for p in files}
    methods |= {
        n.name for p in _sources(root, "methods") for n in ast.parse(p.read_text()).body if isinstance(n, ast.ClassDef)
    }
    modules = [import_module(f"metrics.{p.stem}") for p in (root / "metrics").glob("[!_]*.py")]
    metrics = {m.name for module in modules for m in vars(module).values() if isinstance(m, Metric)}
    # `none` and `references` are also anchors, and `dino` a kind of encoder.
    names = (methods | metrics) - {"none", "dino", "references"}
    assert len(names) >= 8
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(names))}|methods\.\w+|metrics\.\w+)\b")
    hits = [
        f"{p.relative_to(root)}:{line}: {m[0]}"
        for p in _sources(root, "bench")
        for line, t in _words(p)
        if (m := pattern.search(t))
    ]
    assert hits == []


def test_imports_run_one_way(root: Path) -> None:
    hits = []
    for path in _sources(root, "bench"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            hits += [
                f"{path.relative_to(root)}: {n}" for n in names if n.split(".")[0] in ("methods", "metrics", "datasets")
            ]
    assert hits == []


def test_nothing_prints(root: Path) -> None:
    hits = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in _sources(root, "bench", "methods", "metrics")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert hits == []


def test_nothing_unpickles(root: Path) -> None:
    """What comes from outside is parsed, never executed (docs/architecture.md)."""
    hits = []
    for path in _sources(root, "bench", "methods", "metrics"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                hits += [
                    f"{path.name}: {a.name}" for a in node.names if a.name in ("pickle", "dill", "marshal", "shelve")
                ]
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "yaml.load", "eval", "exec"):
                safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
                hits += [] if safe else [f"{path.name}:{node.lineno}: {ast.unparse(node.func)}"]
    assert hits == []


def test_weights_and_artwork_are_small(root: Path) -> None:
    """Equal files count once, as git keeps them: both pipelines hold the same autoencoder."""
    files = [p for f in ("bench/stickers/weights", "datasets") for p in (root / f).rglob("*") if p.is_file()]
    assert len(files) > 100
    sizes = {hashlib.sha256(p.read_bytes()).digest(): p.stat().st_size for p in files}
    assert sum(sizes.values()) < LIMIT


def test_every_atlas_is_attributed(root: Path) -> None:
    import json

    stickers = root / "datasets" / "stickers"
    page = (stickers / "ART.md").read_text(encoding="utf-8")
    for path in (stickers / "art").glob("*.json"):
        index = json.loads(path.read_text())
        line = next(x for x in page.splitlines() if x.startswith(f"| `{path.stem}` |"))
        assert index["package"] in line
        assert index["licence"] in line
    assert "Copyright 2020 Twitter, Inc and other contributors, graphics licensed under CC-BY 4.0" in page


@pytest.mark.parametrize("target", ["demo", "test"])
def test_an_old_python_is_told_in_one_line(root: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "Makefile").write_text((root / "Makefile").read_text())
    old = tmp_path / "old-python"
    old.write_text(
        '#!/bin/sh\n[ "$1" = -c ] || exit 9\nexec python3 -c "import sys; sys.version_info = (3, 9, 1); $2"\n'
    )
    old.chmod(0o755)
    done = subprocess.run(["make", "-s", target, f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer and this one is 3.9" in done.stderr.splitlines()[0]
    assert not (tmp_path / ".venv").exists()
