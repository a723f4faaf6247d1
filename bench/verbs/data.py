"""`python -m bench data write|fetch|check`: datasets made, fetched, looked at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench import paths
from bench.data import dataset
from bench.errors import BenchError
from bench.verbs.arguments import Arguments
from bench.words import counted


def verb(args: list[str], description: str | None) -> int:
    """Does what the arguments say. Returns the exit code."""
    parser = Arguments("python -m bench data", description=description)
    what = parser.add_subparsers(dest="what", metavar="write|fetch|check")
    what.add_parser("write", help="write the concepts of the embedded dataset again (also without a word)")
    get = what.add_parser("fetch", help="get a dataset's files from where its authors keep them")
    get.add_argument("name", metavar="NAME", help=", ".join(_fetched()))
    get.add_argument("--accept", action="store_true", help="the licence, which is shown first")
    get.add_argument("--to", type=Path, help="the folder; data/NAME if left out")
    get.add_argument("--from", dest="came_from", default="", metavar="PLACE", help="a folder or address with its files")
    get.add_argument("--unchecked", action="store_true", help="take an archive whose sum nobody has published")
    look = what.add_parser("check", help="look at every file and every concept of a dataset")
    look.add_argument("name", metavar="NAME", help=", ".join(paths.choices("dataset")))
    look.add_argument("--at", type=Path, help="the folder of its pictures; data/NAME if left out")
    options = parser.parse_args(args)
    if options.what == "fetch":
        return _fetch(options)
    if options.what == "check":
        return _check(options.name, options.at)
    from bench.stickers.concepts import write

    folder = paths.stickers() / "concepts"
    sys.stdout.write(f"{write(folder)} concepts in {folder}\n")
    return 0


def _fetched() -> list[str]:
    return sorted(p.parent.name for p in paths.shipped("datasets").glob("*/source.yaml"))


def _fetch(options: argparse.Namespace) -> int:
    from bench.data.fetch import fetch, source

    said, to = source(options.name), options.to or Path("data") / options.name
    sys.stdout.write(f"{options.name}, {said.home}\nlicence: {said.licence}\n")
    sys.stdout.flush()
    if not options.accept:
        raise BenchError(f"data fetch {options.name}: nothing was fetched; --accept says that you take its licence")
    count = fetch(options.name, to, options.came_from, options.unchecked)
    sys.stdout.write(f"{counted(count, 'file')} in {to}\n")
    return 0


def _check(name: str, at: Path | None) -> int:
    """Holds files against their sums and loads every concept."""
    from bench.data.concept_file import load

    folder, pictures = _places(name, at)
    whole = _whole(name, pictures or folder)
    found = dataset.names(folder)
    if not found:
        raise BenchError(f"{folder}: no concept in it")
    concepts = [load(folder, concept, pictures, dataset.fetched(name)) for concept in found]
    shown = sum(len(c.references) for c in concepts)
    sums = f", {counted(whole, 'file')} by their sums" if whole else ""
    sys.stdout.write(f"{name}: {counted(len(concepts), 'concept')}, {counted(shown, 'picture')}{sums}: nothing wrong\n")
    return 0


def _places(name: str, at: Path | None) -> tuple[Path, Path | None]:
    """Returns the dataset's folder, and that of its pictures where it is another."""
    shipped = paths.shipped("datasets") / name
    alone = (shipped / dataset.LIST).is_file()
    folder = shipped if alone or (at is None and (shipped / "concepts").is_dir()) else at or Path("data") / name
    if not folder.is_dir():
        raise BenchError(f"{folder}: no such folder{dataset.fetched(name)}; --at FOLDER would be right")
    return folder, (at or Path("data") / name) if alone else None


def _whole(name: str, folder: Path) -> int:
    """Returns how many files have the sums that they must have, or that they had when they were fetched unchecked.

    Raises:
        BenchError: one has another, or is missing.
    """
    from bench.data.checksums import kept, whole
    from bench.data.fetch import source, sums

    if name not in _fetched():
        return 0
    known = [*sums(name, source(name)), *kept(folder)]
    wrong = [path for sum_, size, path in known if not whole(folder / path, sum_, size)]
    if wrong:
        raise BenchError(
            f"{folder / wrong[0]}: missing, or not the file that its sum names; so are {len(wrong) - 1} others of "
            f"{len(known)}{dataset.fetched(name)}"
        )
    return len(known)
