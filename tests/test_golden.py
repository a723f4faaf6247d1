"""Golden values: every metric of the default protocol, by the shipped judges, on fixed pictures.

`python -m tests.test_golden` writes them again; a change is a change of a metric, of a judge or of the renderer.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bench import paths
from bench.concept import Concept
from bench.data.concept_file import load, load_novel
from bench.grid import Cell, Prompt, PromptGrid, grid, load_templates
from bench.judges.build import build
from bench.judges.features import FeatureCache
from bench.metric import load_metrics
from bench.sides import Probe
from bench.stages import score
from bench.stickers.render import render
from bench.stickers.world import Scene, names

GOLDEN = Path(__file__).parent / "golden.json"
SEEDS = {"concept": 4, "alias": 4, "compose": 4, "class": 6, "neighbour": 8, "unrelated": 6, "empty": 0, "part": 4}
CASES = {"whole_cat": "personal:whole_cat", "erase_cat": None, "cat_in_ink": "personal:whole_cat",
         "cat_and_poodle": "personal:whole_cat", "erase_cat_and_rocket": None, "novel": "NOVEL"}  # fmt: skip
NOVEL = {"whole_pig": "flat", "whole_cow": "3d"}  # and the style of their references


def _scene(prompt: str, rng: np.random.Generator) -> Scene:
    """A scene that has most of what a prompt names, and chance for the rest."""
    words = prompt.replace("kitty", "cat").replace("spaceship", "rocket")
    subject = next((s for s in sorted(names("subject"), key=len, reverse=True) if f" {s}" in words), "dog")
    place = next((s for s in names("scene") if s in words), "grass")
    return Scene(subject, "cartoon", place).jittered(rng)


def _draw(cells: PromptGrid, folder: Path, seed: int, art: str | None, wrong: bool) -> Path:
    folder.mkdir(parents=True)
    for k, cell in enumerate(cells.cells):
        rng = np.random.default_rng([seed, k])
        scene = _scene(cell.prompt.base, rng)
        if wrong and k % 3 == 0:
            scene = replace(scene, subject="tiger")
        own = art if cell.prompt.channel in ("concept", "novelty") and k % 3 else None
        if own and cell.prompt.part is not None and cell.prompt.channel == "novelty":
            thing, style = list(NOVEL.items())[cell.prompt.part]
            scene, own = replace(scene, style=style), f"personal:{thing}"
        render(scene, art=own).save(folder / f"{cell.key}.png")
    return folder


def _in_words(novel: Concept) -> PromptGrid:
    """Returns an inversion's control: two things that no model knows, in two scenes each."""
    scenes = [(k, s, p) for k, p in enumerate(novel.parts) for s in ("in the snow", "at sunset")]
    prompts = [
        Prompt(channel="novelty", index=i, complete="", base=f"{p.medium} of a {p.class_phrase} {s}", part=k)
        for i, (k, s, p) in enumerate(scenes)
    ]
    return PromptGrid(cells=[Cell(prompt=p, seed=s) for p in prompts for s in range(6)])


def values(name: str, folder: Path) -> dict[str, list[float]]:
    """Returns metric → value, low and high of a concept's made-up run."""
    conf = paths.shipped("conf")
    protocol, dataset = (
        yaml.safe_load((conf / f"{n}.yaml").read_text()) for n in ("protocol/quick", "dataset/stickers")
    )
    if name == "novel":
        concept = load_novel(paths.stickers(), list(NOVEL))
        cells = _in_words(concept)
    else:
        concept = load(paths.stickers(), name)
        cells = grid(concept, load_templates(paths.stickers()), SEEDS)
    folders = {"none": _draw(cells, folder / "none", 1, None, wrong=False),
               "model": _draw(cells, folder / "model", 2, CASES[name], wrong=True)}  # fmt: skip
    if concept.scored_as == "erase":
        folders["surrogate"] = _draw(cells, folder / "surrogate", 3, None, wrong=False)
        for cell in cells.cells:
            if cell.prompt.surrogate:
                rng = np.random.default_rng([3, cell.seed])
                render(_scene(cell.prompt.surrogate, rng)).save(folders["surrogate"] / f"{cell.key}.png")
    judges = {slot: build(spec) for slot, spec in dataset["encoders"].items()}
    metrics = [m for m in load_metrics(protocol["metrics"]) if m.serves(*concept.kinds)]
    probe, cache = Probe(cells, folders, concept), FeatureCache(folder / "features.sqlite")
    table = score.score(probe, probe, judges, metrics, cache)
    cache.close()
    found, _ = score.summarize(table, metrics, judges)
    return {k: [round(x, 6) for x in (v.value, v.low, v.high)] for k, v in found["model"].items()}


@pytest.mark.parametrize("name", CASES)
def test_every_metric_has_its_golden_value(name: str, tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    found = values(name, tmp_path)
    assert found.keys() == golden.keys()
    for metric, expected in golden.items():  # another processor rounds otherwise
        assert found[metric] == pytest.approx(expected, abs=1e-3, rel=1e-4), metric


def test_no_metric_of_the_protocol_lacks_one() -> None:
    protocol = yaml.safe_load((paths.shipped("conf") / "protocol/quick.yaml").read_text())
    golden: dict[str, Any] = {}
    for named in json.loads(GOLDEN.read_text()).values():
        golden |= {key.partition("/")[0]: value for key, value in named.items()}
    elsewhere = {
        "restoration",
        "prefix_gain",
        "concept_leakage",
    }  # of a round trip, of an attack, and of a concept clearly learned: tests/test_metrics.py, test_derived.py
    assert {m.name for m in load_metrics(protocol["metrics"])} - set(golden) == elsewhere


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as made:
        result = {name: values(name, Path(made) / name) for name in CASES}
    GOLDEN.write_text(json.dumps(result, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"{GOLDEN}\n")
