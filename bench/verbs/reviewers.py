"""The verbs of who checks a result: plan, report, compare, reproduce. Each imports what it needs when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.verbs.arguments import Arguments

if TYPE_CHECKING:
    from bench.plan import Plan
    from bench.row import Row


def report(args: list[str]) -> int:
    """Renders the page of a finished run again, from what the store holds."""
    parser = Arguments("python -m bench report", description=report.__doc__)
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; the run's report.html if left out")
    parser.add_argument("--trust", action="store_true", help="the row's command may name code of other packages")
    options = parser.parse_args(args)
    from bench.sweeps.rereport import rereport

    sys.stdout.write(f"{rereport(options.run, options.out, options.trust)}\n")
    return 0


def compare(args: list[str]) -> int:
    """Compares two runs or methods, value by value over what both answered, and shows their pictures side by side."""
    parser = Arguments("python -m bench compare", description=compare.__doc__)
    parser.add_argument("first", metavar="A", help="a run's folder or row.json, a folder of runs, or a method's name")
    parser.add_argument("second", metavar="B", help="likewise")
    parser.add_argument("--board", type=Path, help="the folder of a board that A and B are methods of")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; named by both, here, if left out")
    options = parser.parse_args(args)
    from bench.compare import page as compare_page
    from bench.compare import show as compare_show
    from bench.compare.differences import differences
    from bench.compare.sides import side, told_apart
    from bench.words import slug

    first, second = told_apart(side(options.first, options.board), side(options.second, options.board))
    found, unit = differences(first, second)
    if not found:
        raise BenchError(f"{options.first} and {options.second} have no value in common")
    compare_show.show(first, second, found, unit)
    of = options.board.resolve().name if options.board else " ".join(dict.fromkeys(r.concept for r in first.rows[:2]))
    page = options.out or Path(f"compare-{slug(first.name)}-{slug(second.name)}-{slug(of)}.html")
    compare_page.write(page, first, second, found, unit)
    sys.stdout.write(f"{page}\n")
    return 0


def plan(args: list[str]) -> int:
    """Says what a run or a sweep would make and take, before anything starts; overrides are those of the run. What a
    method's own fields may be is checked when it runs.
    """
    parser = Arguments("python -m bench plan", description=plan.__doc__)
    parser.add_argument("-m", "--multirun", action="store_true", help="sweep over comma-separated values")
    parser.add_argument("overrides", nargs="+", metavar="KEY=VALUE", help="+method=NAME, and what a run takes")
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of methods of your own")
    options = parser.parse_intermixed_args(args)  # -m stands between overrides, as in a run
    from bench.compose import as_text, expand, launch_options, tracker_options
    from bench.forecast.show import write
    from bench.found import OPTION, carried
    from bench.sweeps.served import plans

    folders = carried([f"{OPTION}={folder}" for folder in options.config_dir])
    _, rest = launch_options(as_text([*options.overrides, *folders]))
    _, rest = tracker_options(rest)
    write(plans(expand([*rest, *["-m"] * options.multirun])))
    return 0


def reproduce(args: list[str]) -> int:
    """Runs what a paper claims of a method as far as the embedded track goes, and sets reported beside measured."""
    from bench.papers.reproduce import CONCEPTS, QUICK

    parser = Arguments("python -m bench reproduce", description=reproduce.__doc__)
    parser.add_argument("method", metavar="METHOD", help="of conf/method, with claims in leaderboards/claims")
    parser.add_argument(
        "--quick", action="store_true", help=f"{QUICK} concept in place of {CONCEPTS}: no verdict, a look"
    )
    parser.add_argument("--model", default="", help="of conf/model; the first that the claims name if left out")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each method and concept")
    parser.add_argument("--root", default="runs", help="where runs are kept; what is there is not run again")
    parser.add_argument("--rows", type=Path, metavar="FOLDER", help="judge these rows, and run nothing")
    options = parser.parse_args(args)
    if options.seeds < 1:
        raise BenchError(f"--seeds {options.seeds}: 1 or more would be right")
    from bench.papers import show as reproduce_show
    from bench.papers.reproduce import commands, rows_of, studies

    seeds = range(options.seeds)
    found = studies(options.method, options.model, QUICK if options.quick else CONCEPTS)
    code = 0
    for study in found:
        sys.stdout.write(reproduce_show.about(study, seeds, str(options.rows or "")))
        sys.stdout.flush()  # before what runs say
        if options.rows:
            rows = _rows(options.rows)
        else:
            planned, code_ = _ran(commands(study, options.root, seeds))
            rows, code = rows_of(planned), max(code, code_)
        reproduce_show.write(study, rows)
    return code


def _rows(folder: Path) -> list[Row]:
    """Returns the rows of runs or boards."""
    from bench.boards.leaderboard import collect
    from bench.papers.page import stored

    rows = [*collect([folder]).values(), *stored(folder)] if folder.is_dir() else []
    if not rows:
        raise BenchError(f"--rows {folder}: no rows; a folder of runs, or leaderboards, would be right")
    return rows


def _ran(lists: list[list[str]]) -> tuple[list[Plan], int]:
    """Says what runs would take, and runs what is missing of them."""
    from bench.forecast.show import write
    from bench.sweeps.launch import launcher
    from bench.sweeps.requests import plans
    from bench.sweeps.sweep import sweep
    from bench.trackers.known import tracker

    planned = plans(lists)
    write(planned, begins=True)
    return planned, sweep(planned, launcher({"name": "basic"}), tracker({"name": "none"}))
