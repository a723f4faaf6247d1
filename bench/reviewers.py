"""The verbs of who checks a result: plan, report, compare, reproduce. Each imports what it needs when it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import BenchError


def report(args: list[str]) -> int:
    """Renders the page of a finished run again, from what the store holds."""
    parser = argparse.ArgumentParser("python -m bench report", description=report.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; the run's report.html if left out")
    options = parser.parse_args(args)
    from bench.rereport import rereport

    sys.stdout.write(f"{rereport(options.run, options.out)}\n")
    return 0


def compare(args: list[str]) -> int:
    """Compares two runs or methods, value by value over what both answered, and shows their pictures side by side."""
    parser = argparse.ArgumentParser("python -m bench compare", description=compare.__doc__)
    parser.add_argument("first", metavar="A", help="a run's folder or row.json, a folder of runs, or a method's name")
    parser.add_argument("second", metavar="B", help="likewise")
    parser.add_argument("--board", type=Path, help="the folder of a board that A and B are methods of")
    parser.add_argument("--out", type=Path, default=Path("compare.html"), metavar="FILE", help="the page")
    options = parser.parse_args(args)
    from bench import compare_page
    from bench.compare import differences, side

    first, second = (side(s, options.board) for s in (options.first, options.second))
    found, unit = differences(first, second)
    if not found:
        raise BenchError(f"{options.first} and {options.second} have no value in common")
    compare_page.show(found, compare_page.labels(first, second), unit)
    compare_page.write(options.out, first, second, found, unit)
    sys.stdout.write(f"{options.out}\n")
    return 0
