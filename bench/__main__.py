"""The command line: `python -m bench [VERB] …`; without a verb it runs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from bench.errors import BenchError, near

USAGE = """\
python -m bench +method=NAME [KEY=VALUE ...]   train, generate, score and record one run
python -m bench pretrain [PART ...]            make the models of the embedded world again
python -m bench oracle [MODEL]                 check what a model draws against its prompts
python -m bench judges                         measure the judges on held-out renderings
python -m bench validate-metrics               check every metric where the truth is known
python -m bench tune METHOD ...                find a method's values for a model
python -m bench score --images FOLDER ...      score pictures made elsewhere; --lora FILE, a LoRA's
python -m bench new-method NAME                write a method's template: file, configuration, test
python -m bench check METHOD                   hold a method against the contract, in a minute
python -m bench submit RUN                     pack a finished run with its evidence into one file
python -m bench rerun ROW.json                 run a row again and hold both against each other
python -m bench plan +method=NAME ... [-m]     what a run or a sweep would make and take
python -m bench reproduce METHOD [--quick]     a paper's claims here: reported beside measured
python -m bench report RUN                     render a finished run's page again
python -m bench compare A B                    two runs or methods: differences, and pictures side by side
python -m bench leaderboard [RUNS ...]         put runs and submissions on the boards of --out (leaderboards/)
python -m bench validate ROWS ...              check rows and submissions before they are put on a board
python -m bench power BOARD                    concepts and seeds that a difference needs
python -m bench track RUNS [tracker=NAME]      log finished runs with a tracker; --sync sends them
python -m bench data write|fetch|check         write the embedded dataset; get and check others

A run is composed of these groups and values (conf/ has them all):
  +method=   {methods}
  model=     {models}
  dataset=   {datasets}
  protocol=  {protocols}
  concept=   {concepts}
             all (of the kinds the method serves), KIND:all (subject:all); never those that values are tuned on
  seed=0     seed of training
  tuned=auto the model's own values where it has some; tuned=none gives the paper's
  gate=auto  of adapters that act prompt by prompt: auto, open, closed or a strength
  customizer=NAME  what teaches a round trip the concept that is then erased
  root=runs  where runs are kept; issuing a command again continues it
  --config-dir FOLDER  adds methods of your own: FOLDER/method/NAME.yaml, their Python files beside it; and models,
             datasets and protocols: FOLDER/model/NAME.yaml, …
  method._target_=their_package.TheirMethod  a method by its class; packages enter theirs under conceptbench.methods
  method.FIELD=VALUE sets one hyperparameter; -m sweeps over comma-separated values
  launcher=basic  how a sweep is spread: {launchers}; launcher.FIELD=VALUE sets what it takes
  tracker=none    where runs are logged as well: {trackers}; tracker.FIELD=VALUE sets what it takes

Exit codes: 0 done, 1 a run failed (its row says why), 2 the request was wrong."""


def usage() -> str:
    """Returns the help text with what there is to choose from."""
    from bench import found, paths

    groups = {g: ", ".join(paths.choices(g)) for g in ("model", "dataset", "protocol", "launcher", "tracker")}
    concepts = sorted(p.name for p in (paths.stickers() / "concepts").iterdir())
    return USAGE.format(methods=", ".join(found.names()), models=groups["model"], datasets=groups["dataset"],
                        protocols=groups["protocol"], concepts=", ".join(concepts),
                        launchers=groups["launcher"], trackers=groups["tracker"])  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Runs the command line. Returns the exit code."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] == "help" or (("=" in args[0] or args[0].startswith("-")) and {"-h", "--help"} & set(args)):
        sys.stdout.write(usage() + "\n")
        return 0
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("bench").setLevel(logging.INFO)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    try:
        code = _dispatch(args)
        sys.stdout.flush()
        return code
    except BenchError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except BrokenPipeError:  # as of `| head`, which has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a folder where a file is to go, a disk that is full
        if error.filename is None:
            raise
        sys.stderr.write(f"error: {error.filename}: {error.strerror}\n")
        return 2
    except KeyboardInterrupt as error:
        sys.stderr.write("interrupted; the same command continues from here\n")
        return 143 if isinstance(error, _Ended) else 130


class _Ended(KeyboardInterrupt):
    """This process was told to end: what it began ends with it, as on Ctrl-C."""


def _end(number: int, frame: object) -> None:
    raise _Ended


def _dispatch(args: list[str]) -> int:
    from bench.verbs import known as verbs

    verb = verbs.VERBS.get(args[0])
    if verb is not None:
        return verb(args[1:])
    if "=" not in args[0] and not args[0].startswith("-"):
        known = f"there are: {', '.join(verbs.VERBS)}; a run starts with +method=NAME"
        raise BenchError(f"no verb {args[0]!r}{near(args[0], verbs.VERBS)}; {known}")
    from bench.verbs.run import run_command

    return run_command(args)


if __name__ == "__main__":
    sys.exit(main())
