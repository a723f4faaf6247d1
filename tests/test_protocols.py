"""Every protocol composes with a model and a dataset, says where it is from, and asks for what its metrics read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import hub
from bench.compose import compose
from bench.data.concept_file import load
from bench.data.dataset import templates
from bench.grid import grid
from bench.metric import Metric, load_metrics

PAPERS = ["classdiffusion", "dco", "dpg", "dreambench-plus", "dreambooth", "peft", "purecc", "spm"]
STEPS = {"dreambooth": (50, 7.5), "dco": (50, 7.5), "classdiffusion": (100, 6.0), "spm": (30, 7.5), "dpg": (200, 7.5),
         "dreambench-plus": (100, 7.5), "peft": (20, 3.5), "purecc": (20, 3.0)}  # fmt: skip
ASKED = {"dreambooth": 4, "dpg": 8, "dreambench-plus": 1, "spm": 10, "peft": 3}  # pictures a prompt, where stated


def _composed(protocol: str, *more: str) -> dict[str, Any]:
    dataset = "spm" if protocol == "spm" else "dreambooth"
    return compose(["+method=none", f"dataset={dataset}", f"protocol={protocol}", *more])[0]


@pytest.mark.parametrize("model", ["sticker-flow", "sticker-unet"])
@pytest.mark.parametrize("protocol", PAPERS)
def test_a_protocol_composes_with_a_model_and_a_dataset(protocol: str, model: str) -> None:
    config = _composed(protocol, f"model={model}")
    assert config["protocol"]["name"] == protocol
    wanted = STEPS[protocol] if protocol != "purecc" else ({"sticker-flow": 20, "sticker-unet": 25}[model], 3.0)
    assert (config["model"]["steps"], config["model"]["guidance_scale"]) == wanted
    assert config["protocol"]["seeds"]["concept"] == ASKED.get(protocol, config["protocol"]["seeds"]["concept"])
    own = _composed(protocol, "model.steps=3", "protocol.seeds.concept=1")  # the command line has the last word
    assert (own["model"]["steps"], own["protocol"]["seeds"]["concept"]) == (3, 1)


@pytest.mark.parametrize("protocol", PAPERS)
def test_its_metrics_are_served_by_its_judges_and_measure_something(protocol: str) -> None:
    config = _composed(protocol)
    metrics = load_metrics(config["protocol"]["metrics"])
    encoders = hub.read(config)["dataset"]["encoders"]
    needed = {m.needs for m in metrics if isinstance(m, Metric)}
    assert set(encoders) == needed  # and no other is asked for
    kind = "erase" if protocol == "spm" else "subject"
    seeds = config["protocol"]["seeds"]
    served = [m for m in metrics if m.serves(kind)]
    assert served and all(any(seeds[c] for c in m.channels if c in seeds) for m in served)
    measured = {m.name for m in metrics}
    assert all(name in measured for m in metrics if not isinstance(m, Metric) for name in m.of)


@pytest.mark.parametrize("protocol", PAPERS)
def test_it_cites_its_source_and_marks_what_was_chosen(root: Path, protocol: str) -> None:
    text = (root / "conf" / "protocol" / f"{protocol}.yaml").read_text(encoding="utf-8")
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    assert "arXiv" in comments or "ICLR" in comments or "huggingface/peft" in comments
    for word in ("prompts", "pictures a prompt", "seed", "chosen", "aggregation"):
        assert word in comments, word
    if protocol not in ("dreambench-plus", "peft", "spm"):  # these publish their code
        assert "not stated" in comments or "not found" in comments


def test_dreambooth_says_how_dinos_pictures_are_resized(root: Path) -> None:
    notes = (root / "conf" / "protocol" / "dreambooth.yaml").read_text(encoding="utf-8").replace("\n#   ", " ")
    (said,) = (line for line in notes.splitlines() if line.startswith("# DINO's pictures:"))
    numbers = ("256", ".884", ".903")
    footguns = (root / "docs" / "footguns.md").read_text(encoding="utf-8")
    assert all(n in said and n in footguns for n in numbers)
    assert all(s in said for s in ("not stated", "moves the score", "chosen: the whole picture at 224 × 224"))


def test_what_is_on_stable_diffusion_14_names_that_model(root: Path) -> None:
    assert "stable-diffusion-v1-4@" in _composed("spm", "model=sd14")["model"]["path"]
    texts = {p.stem: p.read_text(encoding="utf-8") for p in (root / "conf" / "protocol").glob("*.yaml")}
    assert {name for name, text in texts.items() if "SD1.4" in text} == {"spm", "dpg"}
    assert all("model=sd14" in text for text in texts.values() if "SD1.4" in text)


def test_dreambooth_is_3000_pictures_and_dpg_6000(root: Path) -> None:
    folder, photos = root / "datasets" / "dreambooth", root / "tests" / "photos"
    for protocol, pictures in (("dreambooth", 100), ("dpg", 200)):
        seeds = _composed(protocol)["protocol"]["seeds"]
        for name in ("dog3", "bear_plushie"):
            cells = grid(load(folder, name, photos), templates(folder, name, photos), seeds)
            assert len([c for c in cells.cells if c.prompt.channel == "concept"]) == pictures


def test_a_judge_is_named_once_by_one_checkpoint(root: Path) -> None:
    """Two names of one file, or two files of one name, would share or split a column."""
    import yaml

    files = [*(root / "conf" / "encoders").glob("photos*.yaml"), *(root / "conf" / "protocol").glob("*.yaml")]
    found: dict[str, set[str]] = {}
    for path in files:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        said = said.get("dataset", {}).get("encoders", {}) if path.parent.name == "protocol" else said
        for spec in (s for s in said.values() if isinstance(s, dict) and s.get("path")):
            found.setdefault(spec["name"], set()).add(spec["path"])
    assert len(found) >= 11
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
    assert len(set.union(*found.values())) == len(found)


def test_the_embedded_judges_are_those_of_the_embedded_world(root: Path) -> None:
    import yaml

    conf = root / "conf"
    stickers = yaml.safe_load((conf / "dataset" / "stickers.yaml").read_text())["encoders"]
    assert yaml.safe_load((conf / "encoders" / "embedded.yaml").read_text()) == stickers
