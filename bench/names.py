"""Dotted names → what they name; methods and metrics are reached in no other way."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import json
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from bench import pipelines
from bench.errors import BenchError
from bench.paths import stickers

OURS = ("methods", "metrics", "bench")  # packages of the harness


def resolve_name(target: str, field: str) -> Any:
    """Imports `package.module.Name`.

    Args:
        target: the dotted name.
        field: the configuration field it stands in, for the error.

    Raises:
        BenchError: the module or the name in it does not exist, or the module cannot be imported.
    """
    module, _, name = target.rpartition(".")
    source_file(target, field)
    with _somebodys(_at(field, target)):
        loaded = importlib.import_module(module)
    if not hasattr(loaded, name):
        raise BenchError(f"{_at(field, target)}: module {module} has no {name!r}")
    return getattr(loaded, name)


@contextmanager
def _somebodys(where: str) -> Iterator[None]:
    """Says in one line what somebody's module does when it is imported, leaving the program included."""
    try:
        yield
    except (Exception, SystemExit) as error:
        at = error if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1]
        said = error.msg if isinstance(error, SyntaxError) else error
        raise BenchError(f"{where}: {type(error).__name__} in {at.filename}, line {at.lineno}: {said}") from error


def _at(field: str, target: str) -> str:
    return field if field.endswith(f"={target}") else f"{field}={target}"


def source_file(target: str, field: str) -> Path:
    """Returns the file a dotted name lives in; its module itself is not imported.

    Raises:
        BenchError: there is no such module.
    """
    module = target.rpartition(".")[0]
    spec = find(module, _at(field, target))
    if spec is None or spec.origin is None or not spec.has_location:
        raise BenchError(f"{_at(field, target)}: no module {module!r} is installed")
    return Path(spec.origin)


def find(module: str, where: str) -> ModuleSpec | None:
    """Returns where a module lies, None if there is none; the packages it is in are imported, itself is not.

    Raises:
        BenchError: such a package cannot be imported; `where` begins the message.
    """
    with _somebodys(where):
        try:
            return importlib.util.find_spec(module) if module else None
        except ValueError:
            return None
        except ModuleNotFoundError as error:
            if error.name and f"{module}.".startswith(f"{error.name}."):
                return None
            raise  # what is not there is something that its package imports


def source_hash(target: str, field: str) -> str:
    """Returns a hash of that file, or of its whole package where that is not the harness's own: a changed method or
    metric is another one, unless it was shown to be the same.
    """
    file, package = source_file(target, field), target.partition(".")[0]
    spec = importlib.util.find_spec(package)
    inside = [Path(p) for p in spec.submodule_search_locations or ()] if spec and package not in OURS else []
    files = sorted({file, *(f for folder in inside for f in folder.rglob("*.py"))})
    digest = hashlib.sha256()
    for each in files:
        digest.update(each.read_bytes())
    return _same_as().get(digest.hexdigest(), digest.hexdigest())


# What pictures, trainings and attacks depend on, beside the backbone's own files.
_BENCH = ("workbench.py", "draws.py", "loop.py", "adapter.py", "pictures.py")
CODE = {
    "draws": ("generate.py",),
    "trains": _BENCH,
    "attacks": ("attacks", "sides.py", "generate.py", *_BENCH),
}


# What a judge sees depends on, beside its weights: the oracle looks with code of the embedded world.
LOOKS = ("judges", "pictures.py", "backbone/files.py", "stickers/world.py", "stickers/pretrain/oracle.py",
         "stickers/pretrain/data.py")  # fmt: skip


def code_of(*parts: str) -> str:
    """Returns a hash of files and folders of the harness: a stage's output depends on the code that made it.

    Code that was shown to compute the same bits as code before it (`tools/same_bits.py`) goes by the earlier's hash,
    so that nothing is trained again for a change that changes nothing.
    """
    root, digest = Path(__file__).parent, hashlib.sha256()
    for part in parts:
        path = root / part
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    own = digest.hexdigest()[:16]
    return _same_as().get(own, own)


def code_for(stage: str, pipeline: str) -> str:
    """Returns the hash of the files that a stage on a pipeline class depends on."""
    return code_of(*CODE[stage], *pipelines.code(pipeline))


def codes() -> dict[str, str]:
    """Returns the hash of each list of files that a key is made of, by stage and pipeline class."""
    return {f"{stage}/{name}": code_for(stage, name) for stage in CODE for name in pipelines.CLASSES}


@functools.cache
def _same_as() -> dict[str, str]:
    return json.loads((Path(__file__).parent / "same_code.json").read_text())


@functools.cache
def world_key() -> str:
    """Returns a hash of the embedded world's file: the words by which its reader knows things."""
    return hashlib.sha256((stickers() / "world.yaml").read_bytes()).hexdigest()[:16]


@functools.cache
def libraries() -> dict[str, str]:
    """Returns the versions of the libraries that pictures and features depend on."""
    return {p: metadata.version(p) for p in ("torch", "diffusers", "transformers", "peft", "open_clip_torch", "pillow")}
