"""The verbs of method authors; each imports what it needs when it is called."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bench.errors import BenchError
from bench.verbs.arguments import Arguments


def new_method(args: list[str]) -> int:
    """Writes a commented template of a method, its configuration and its test, which run at once."""
    parser = Arguments("python -m bench new-method", description=new_method.__doc__)
    parser.add_argument("name", metavar="NAME", help="of the method and its module, in lower_case")
    parser.add_argument("--kind", default="iterative", help="iterative, closed-form or inference")
    parser.add_argument(
        "--out", type=Path, help="folder to write into; the checkout, or the current folder, if left out"
    )
    options = parser.parse_args(args)
    from bench.contract.new_method import KINDS, write

    if options.kind not in KINDS:
        raise BenchError(f"--kind {options.kind}: one of {', '.join(KINDS)} would be right")
    written, then = write(options.name, options.kind, options.out)
    sys.stdout.write("".join(f"{path}\n" for path in written) + "next:\n" + "".join(f"  {line}\n" for line in then))
    return 0


def check(args: list[str]) -> int:
    """Holds a method against the contract on small random-weight pipelines; exit code 1 where it breaks it."""
    parser = Arguments("python -m bench check", description=check.__doc__)
    parser.add_argument("method", metavar="METHOD", help="a name, or their_package.TheirMethod")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="method.FIELD=VALUE")
    parser.add_argument("--config-dir", type=Path, help="folder with method/NAME.yaml and its Python files")
    options = parser.parse_intermixed_args(args)
    from bench.contract.check import check as findings
    from bench.found import OPTION, carried

    folder = carried([OPTION, str(options.config_dir)] if options.config_dir else [])
    begun, broken = time.monotonic(), 0
    for finding in findings(options.method, [*options.overrides, *folder]):
        sys.stdout.write(finding.line() + "\n")
        sys.stdout.flush()
        broken += not finding.good
    kept = "keeps the contract" if not broken else "breaks the contract"
    sys.stdout.write(f"{options.method} {kept} ({time.monotonic() - begun:.0f} s)\n")
    return 1 if broken else 0


def submit(args: list[str]) -> int:
    """Packs a finished run's row with its evidence into one file."""
    parser = Arguments("python -m bench submit", description=submit.__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder, runs/METHOD/CONCEPT-…")
    parser.add_argument("--out", type=Path, help="the file; METHOD-CONCEPT-seedN-PROTOCOL.zip if left out")
    options = parser.parse_args(args)
    from bench.submissions.submit import pack

    path = pack(options.run, options.out)
    sys.stdout.write(f"{path}: {path.stat().st_size // 1024} kB; python -m bench validate {path} checks it\n")
    return 0
