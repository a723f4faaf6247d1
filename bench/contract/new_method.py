"""Writes a method's template: a file, its configuration and its test, which run at once on the embedded world."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shlex
from pathlib import Path

from bench import found, paths
from bench.errors import BenchError
from bench.store import write_text

TEMPLATES = Path(__file__).parent.parent / "templates"
KINDS = tuple(sorted(p.stem.replace("_", "-") for p in TEMPLATES.glob("*.yaml")))
FAMILY = {"closed-form": "model=sticker-unet concept=erase_cat"}  # what the template's first run needs said


def write(name: str, kind: str, out: Path | None) -> tuple[list[Path], list[str]]:
    """Writes a template.

    Args:
        name: of the method, its module and its configuration.
        kind: one of `KINDS`.
        out: folder to write into; None is the checkout this is called in, else the current folder.

    Returns:
        What was written, and the commands that come next.

    Raises:
        BenchError: the name cannot be one, or something of it is there already.
    """
    checkout = out is None and _in_checkout()
    _check(name, checkout)
    files = _files(name, kind, None if checkout else out or Path())
    there = [p for p in files if p.exists() or p.is_symlink()]
    if there:
        raise BenchError(f"{there[0]}: is there already; another NAME, or another --out, would be right")
    for path, text in files.items():
        write_text(path, text)
    return list(files), _next(name, kind, files, None if checkout else out or Path())


def _in_checkout() -> bool:
    """Returns whether this is called in the repository itself."""
    home = paths.shipped("conf").parent
    return Path.cwd() == home and (home / "methods").is_dir() and (home / "tests").is_dir()


def _check(name: str, checkout: bool) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise BenchError(
            f"NAME {name!r}: lower-case letters, digits and '_', a letter first, would be right: my_method"
        )
    if name in found.names():
        raise BenchError(f"NAME {name!r}: there is a method of this name; another would be right")
    if not checkout and importlib.util.find_spec(name) is not None:
        raise BenchError(f"NAME {name!r}: there is a Python module of this name; another would be right")


def _files(name: str, kind: str, folder: Path | None) -> dict[Path, str]:
    """Returns what is written where."""
    stem = kind.replace("-", "_")
    code, test = (folder, folder) if folder is not None else (Path("methods"), Path("tests"))
    conf = Path("conf") if folder is None else folder
    sources = {
        code / f"{name}.py": f"{stem}.py",
        conf / "method" / f"{name}.yaml": f"{stem}.yaml",
        test / f"test_{name}.py": "test.py",
    }
    said = {path: (TEMPLATES / source).read_text(encoding="utf-8") for path, source in sources.items()}
    return {path: _named(text, name, folder) for path, text in said.items()}


def _named(text: str, name: str, folder: Path | None) -> str:
    """Returns a template's text with the method's own names in it."""
    title = "".join(word.capitalize() for word in name.split("_"))
    if folder is None:
        text = text.replace("_target_: ", "_target_: methods.")
    else:
        text = text.replace(
            '"check", "new_method"', '"check", "new_method", "--config-dir", str(Path(__file__).parent)'
        )
        text = text.replace("from bench.__main__", "from pathlib import Path\n\nfrom bench.__main__")
    return text.replace("NewMethod", title).replace("new_method", name)


def _next(name: str, kind: str, files: dict[Path, str], folder: Path | None) -> list[str]:
    where = "" if folder is None else f" {found.OPTION} {shlex.quote(str(folder))}"
    (test,) = (p for p in files if p.name.startswith("test_"))
    more = f" {FAMILY[kind]}" if kind in FAMILY else ""
    return [
        f"python -m bench check {name}{where}",
        f"python -m bench{where} +method={name}{more}",
        f"python -m pytest {shlex.quote(str(test))}",
        *(["python tools/methods_page.py"] if folder is None else []),
    ]
