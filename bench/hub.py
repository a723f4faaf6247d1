"""Models by their name on the hub, found where they lie on this machine; nothing here reaches for the network.

`hf:org/name@revision` (a commit, a branch or `refs/pr/1`; `main` if left out) is looked for in the hub's own cache,
laid out as `hf download` leaves it, and as a plain folder `models/org/name`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from bench.errors import BenchError

PREFIX = "hf:"
NAMED = re.compile(r"hf:([\w][\w.-]*/[\w][\w.-]*)(?:@([\w][\w./-]*))?")
COMMIT = re.compile(r"[0-9a-f]{40}")
WORDS = ("tokenizer.json", "vocab.json", "vocab.txt")  # one of them, where texts are read
# What a folder must hold beside its weights, by the kind of what reads it; `|` is one of several.
NEEDED = {
    "pipeline": ("model_index.json",),
    "lora": ("pytorch_lora_weights.safetensors",),
    "open_clip": ("open_clip_config.json",),
    "clip": ("config.json", "preprocessor_config.json", "|".join(WORDS)),
    "dino": ("config.json", "preprocessor_config.json"),
    "blip1": ("config.json", "preprocessor_config.json", "|".join(WORDS)),
    "blip2": ("config.json", "preprocessor_config.json", "|".join(WORDS)),
}


def located(path: str, field: str, kind: str) -> str:
    """Returns the local folder of `hf:org/name@revision`, and any other path as it is.

    Args:
        path: as a configuration has it.
        field: the configuration's field, for the error.
        kind: of what reads the folder: an encoder's kind, `pipeline` or `lora`.

    Raises:
        BenchError: it is not on this machine, or lacks a file that its kind needs.
    """
    if not path.startswith(PREFIX):
        if not path.startswith("embedded:") and not Path(path).is_dir():
            raise BenchError(f"{field}={path}: no such folder; {_files(kind)} go there")
        return path
    match = NAMED.fullmatch(path)
    if match is None or ".." in path:
        raise BenchError(f"{field}={path}: hf:ORGANISATION/NAME, or hf:ORGANISATION/NAME@REVISION, would be right")
    name, revision = match[1], match[2] or "main"
    folder = next((f for f in _places(name, revision) if f.is_dir()), None)
    if folder is None:
        at = f" --revision {revision}" if match[2] else ""
        raise BenchError(
            f"{field}={path}: not on this machine; `hf download {name}{at}` gets it, or {_files(kind)} go into "
            f"{_models() / name}"
        )
    _complete(folder, f"{field}={path}", kind)
    return str(folder)


def _files(kind: str) -> str:
    """Says what a folder must hold."""
    return " and ".join([*(n.partition("|")[0] for n in NEEDED.get(kind, ())), "the .safetensors"])


def _complete(folder: Path, said: str, kind: str) -> None:
    for names in NEEDED.get(kind, ()):
        if not any((folder / n).is_file() for n in names.split("|")):
            raise BenchError(f"{said}: {names.replace('|', ' or ')} is missing; it goes into {folder}")
    if not any(folder.rglob("*.safetensors")):
        pickled = sorted(p.name for p in folder.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        how = f"; `python tools/to_safetensors.py {folder / pickled[0]}` makes one of {pickled[0]}" if pickled else ""
        raise BenchError(f"{said}: model.safetensors is missing; it goes into {folder}{how}")


def _cache() -> Path:
    """Returns the hub's cache, where its own library would look."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _models() -> Path:
    return Path(os.environ.get("CONCEPT_BENCH_MODELS") or "models")


def _places(name: str, revision: str) -> list[Path]:
    """Returns where a model may lie, the hub's cache first."""
    found = []
    for root in (_cache(), _models()):
        repository = root / f"models--{name.replace('/', '--')}"
        ref = repository / "refs" / revision
        commit = ref.read_text().strip() if ref.is_file() else revision
        if COMMIT.fullmatch(commit):
            found.append(repository / "snapshots" / commit)
    return [*found, _models() / name]


def model(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a model's configuration with local folders in place of names on the hub."""
    lora = located(config["lora"], "model.lora", "lora") if config.get("lora") else None
    return config | {"path": located(config["path"], "model.path", "pipeline"), "lora": lora}


def encoders(specs: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Returns a dataset's encoders with local folders in place of names on the hub."""

    def here(slot: str, spec: dict[str, str]) -> str:
        return spec["path"] and located(spec["path"], f"dataset.encoders.{slot}.path", spec["kind"])

    return {slot: spec | {"path": here(slot, spec)} for slot, spec in specs.items()}


def read(config: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's configuration without the encoders of the hub that none of its metrics reads.

    Nobody should have to fetch four gigabytes that no score is made with; the embedded ones cost nothing.
    """
    specs = config["dataset"]["encoders"]
    if not any(s["path"].startswith(PREFIX) for s in specs.values()):
        return config
    from bench.metric import Metric, load_metrics

    needed = {m.needs for m in load_metrics(config["protocol"]["metrics"]) if isinstance(m, Metric)}
    kept = {slot: s for slot, s in specs.items() if slot in needed or s["path"].startswith("embedded:")}
    return config | {"dataset": config["dataset"] | {"encoders": kept}}
