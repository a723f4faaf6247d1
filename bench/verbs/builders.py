"""The verbs that make the embedded world and check it; each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path

from bench.errors import BenchError
from bench.verbs.arguments import Arguments


def pretrain(args: list[str]) -> int:
    """Makes the embedded world's models again."""
    judges = ["sight", "clip-judge", "dino-judge", "blip2-judge", "blip1-judge"]
    names = ["vae", "text", "oracle", "flow", "flow-further", "unet", "unet-b", *judges, "cards"]
    parser = Arguments("python -m bench pretrain", description=pretrain.__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(names)}; all of them")
    parser.add_argument("--work", type=Path, default=Path("outputs/pretrain"), help="folder of checkpoints and logs")
    options = parser.parse_args(args)
    wrong = [p for p in options.parts if p not in names]
    if wrong:
        raise BenchError(f"pretrain has no part {wrong[0]!r}; there are: {', '.join(names)}")
    from bench.stickers.pretrain.parts import PARTS

    for part in options.parts or names:
        PARTS[part](options.work)
    return 0


def oracle(args: list[str]) -> int:
    """Draws 500 held-out captions with a model and reads them with the oracle."""
    parser = Arguments("python -m bench oracle", description=oracle.__doc__)
    parser.add_argument("model", nargs="?", default="sticker-flow", help="a model of conf/model")
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--usual", action="store_true", help="captions as training drew them, not held-out ones")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of the first 64 here")
    options = parser.parse_args(args)
    from bench.stickers.check import check_model

    check_model(options.model, options.captions, options.sheet, options.usual)
    return 0


def judges(args: list[str]) -> int:
    """Measures the judges on renderings none of them was trained on."""
    Arguments("python -m bench judges", description=judges.__doc__).parse_args(args)
    from bench.stickers.judges import check_judges

    check_judges()
    return 0


def validate_metrics(args: list[str]) -> int:
    """Checks every metric, and judges broken on purpose, where the truth is known."""
    parser = Arguments("python -m bench validate-metrics", description=validate_metrics.__doc__)
    parser.add_argument("--out", type=Path, default=Path("leaderboards/validity"), help="folder of the page")
    parser.add_argument("--scenes", type=int, default=192, help="scenes a group of metrics")
    parser.add_argument(
        "--model", default="sticker-flow", help="the model of conf/model whose pictures are checked too"
    )
    options = parser.parse_args(args)
    import sys

    import yaml

    from bench import paths
    from bench.judges.build import build
    from bench.metric import Metric, load_metrics
    from bench.stickers.validity.page import write

    conf = paths.shipped("conf")
    protocol, dataset = (
        yaml.safe_load((conf / f"{n}.yaml").read_text()) for n in ("protocol/quick", "dataset/stickers")
    )
    judges = {slot: build(spec) for slot, spec in dataset["encoders"].items()}
    metrics = [m for m in load_metrics(protocol["metrics"]) if isinstance(m, Metric)]
    result = write(options.out, metrics, judges, options.model, options.scenes)
    every = [
        (m["title"], fault, b["exposed_by"]) for m in result["metrics"].values() for fault, b in m["broken"].items()
    ]
    missed = [f"{title}: {fault}" for title, fault, by in every if not by]
    sys.stdout.write(f"{options.out / 'README.md'}: {len(result['metrics'])} metrics; ")
    sys.stdout.write(f"not exposed: {'; '.join(missed)}\n" if missed else "every broken judge is exposed\n")
    return 1 if missed else 0
