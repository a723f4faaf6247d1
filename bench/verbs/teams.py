"""The verbs of who runs sweeps and keeps boards; each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.verbs.arguments import Arguments


def tune(args: list[str]) -> int:
    """Finds a method's values for a model by trials on development concepts, and keeps them in conf/values."""
    parser = Arguments("python -m bench tune", description=tune.__doc__)
    parser.add_argument("methods", nargs="+", metavar="METHOD", help="of conf/method, with a `search` space")
    parser.add_argument("--model", default="sticker-flow", help="a model of conf/model")
    parser.add_argument(
        "--trials", type=int, default=5, help="sets of values to try, the same for every method; 5 if left out"
    )
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of methods of your own")
    parser.add_argument("--root", default="runs", help="where the trials' runs and the shared store lie")
    parser.add_argument(
        "--out", type=Path, help="folder to write MODEL/METHOD.yaml into; values/ beside the method's own if left out"
    )
    options = parser.parse_args(args)
    if options.trials < 1:
        raise BenchError(f"--trials {options.trials}: 1 or more would be right")
    import sys

    from bench.found import OPTION, carried
    from bench.sweeps.tune import tune as search

    more = carried([f"{OPTION}={folder}" for folder in options.config_dir])
    for method in options.methods:
        path = search(method, options.model, options.trials, options.root, options.out, more)
        sys.stdout.write(f"{path}\n")
    return 0


def score(args: list[str]) -> int:
    """Scores what was made elsewhere as a run of its own: a picture for every prompt and seed, or a LoRA's pictures."""
    parser = Arguments("python -m bench score", description=score.__doc__)
    parser.add_argument("--images", type=Path, help="folder of CHANNEL-INDEX-SEED.png or CHANNEL/INDEX/SEED.png")
    parser.add_argument("--lora", type=Path, metavar="FILE", help="a LoRA of diffusers, PEFT or kohya, .safetensors")
    parser.add_argument("--weight", type=float, default=1.0, help="how strongly the LoRA acts")
    parser.add_argument(
        "--trigger", metavar="WORD", help="what the LoRA's concept goes by; the concept's own if left out"
    )
    parser.add_argument("--name", help="what the row is to be called; a LoRA's file name, or outside, if left out")
    parser.add_argument("--list", type=Path, metavar="FILE", help="write the prompts and seeds asked for, and stop")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="concept=, model=, protocol=, root=")
    options = parser.parse_intermixed_args(args)
    from bench.outside.scored import score_outside

    return score_outside(options, args)


def rerun(args: list[str]) -> int:
    """Runs a row again from its own provenance; exit code 0 if every value lands in the row's interval."""
    parser = Arguments("python -m bench rerun", description=rerun.__doc__)
    parser.add_argument("row", type=Path, metavar="ROW.json", help="of a run's folder or a board's rows/")
    parser.add_argument("--root", help="where the new run is kept; reruns/<the row's digest> if left out")
    parser.add_argument("--trust", action="store_true", help="the row's command may name code of other packages")
    options = parser.parse_args(args)
    from bench.sweeps.rerun import rerun as run_again

    return run_again(options.row, options.root, options.trust)


def leaderboard(args: list[str]) -> int:
    """Adds finished runs to the boards and renders every board again from its rows."""
    parser = Arguments("python -m bench leaderboard", description=leaderboard.__doc__)
    parser.add_argument(
        "runs", nargs="*", type=Path, help="folders of runs, and submissions, that are added; none only renders"
    )
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="folder of the boards")
    options = parser.parse_args(args)
    import gc
    import sys

    from bench.boards import findings as findings_page
    from bench.boards.leaderboard import collect, enter, files
    from bench.papers import page as claims_page
    from bench.submissions.submission import SUFFIX

    gc.disable()  # rows hold no cycles; with thousands of them the collector would take most of the time

    missing = [p for p in options.runs if not (p.is_dir() or (p.suffix == SUFFIX and p.is_file()))]
    if missing:
        raise BenchError(f"{missing[0]}: no such folder; one with runs in it, or a submission, would be right")
    found = {p: files(p) for p in options.runs}  # a folder of runs is large: it is walked once
    if empty := [p for p, own in found.items() if not own]:
        raise BenchError(f"{empty[0]}: no row.json of a run, no rows/ of a board and no submission in it")
    for folder in enter(options.out, collect(f for own in found.values() for f in own)):
        sys.stdout.write(f"{folder / 'README.md'}, index.html\n")
    for page in [*claims_page.write(options.out), *findings_page.write(options.out)]:
        sys.stdout.write(f"{page}\n")
    return 0


def power(args: list[str]) -> int:
    """Says how many concepts and seeds show a difference, from the spread of a board's rows."""
    parser = Arguments("python -m bench power", description=power.__doc__)
    parser.add_argument("board", type=Path, help="folder of a board")
    parser.add_argument("--column", help="of the board's table; its first if left out")
    parser.add_argument("--difference", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2], help="in its unit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 5], help="trainings a concept")
    parser.add_argument("--alpha", type=float, default=0.05, help="level of a two-sided test")
    options = parser.parse_args(args)
    if min(options.seeds) < 1 or not 0 < options.alpha < 1 or min(map(abs, options.difference)) == 0:
        raise BenchError("power: seeds of 1 or more, differences other than 0 and an alpha in (0, 1) would be right")
    import sys

    from bench.boards.analysis import analyse
    from bench.boards.leaderboard import read
    from bench.boards.power import table

    rows = read(options.board)
    if not rows:
        raise BenchError(f"{options.board}: no rows; a folder of leaderboards/ would be right")
    board = analyse(rows)
    column = options.column or next(iter(board.columns), "")
    sys.stdout.write(table(board, column, options.difference, options.seeds, options.alpha))
    return 0


def validate(args: list[str]) -> int:
    """Checks rows and submissions: every field, the names, and that no row stands twice or under another's name."""
    parser = Arguments("python -m bench validate", description=validate.__doc__)
    parser.add_argument("rows", nargs="+", type=Path, help="row files, submissions, or folders of runs or boards")
    options = parser.parse_args(args)
    import sys

    from bench.submissions.validate import check

    count, complaints = check(options.rows)
    sys.stderr.write("".join(f"error: {c}\n" for c in complaints))
    if not complaints:
        sys.stdout.write(f"{count} row{'s' * (count != 1)}, nothing wrong\n")
    return 2 if complaints else 0


def data(args: list[str]) -> int:
    """Writes the embedded dataset's concepts again; fetches and checks datasets of others."""
    from bench.verbs.data import verb

    return verb(args, data.__doc__)


def track(args: list[str]) -> int:
    """Logs finished runs with a tracker from what they left on disk; done again, it replaces what it logged."""
    parser = Arguments("python -m bench track", description=track.__doc__)
    parser.add_argument("words", nargs="*", metavar="RUNS | tracker.KEY=VALUE",
                        help="runs, or folders of runs; tracker=wandb if left out, tracker.mode=online, …")  # fmt: skip
    parser.add_argument("--sync", action="store_true", help="send what was logged offline")
    options = parser.parse_args(args)
    from bench.trackers.track import track as log_again

    return log_again(options.words, options.sync)
