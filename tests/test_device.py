"""The code on another device than the CPU: it gives what it gives on the CPU, and mixes devices nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from elsewhere import DEVICE, Mixed, elsewhere
from tiny import bench_of, concept
from torch import Tensor

from bench import backbone, paths
from bench.attacks import words
from bench.attacks.soft import Attacker
from bench.backbone.base import Backbone
from bench.backbone.gate import Gate
from bench.backbone.place import Placement
from bench.compose import compose
from bench.contract.brief import tensors
from bench.judges.build import build
from bench.pictures import read_picture
from bench.plan import Plan, make
from bench.stages.training import instantiate
from bench.workbench import Workbench
from tests.matrix import NETWORKS, cases, folder_of, request

DATASET = paths.shipped("datasets") / "stickers"
ENCODERS = yaml.safe_load((paths.shipped("conf") / "dataset/stickers.yaml").read_text())["encoders"]
HERE, AWAY = Placement(), Placement(str(DEVICE))
# Every method on both families, by the first of its tasks, and a few on the other classes.
FEW = dict.fromkeys(("sdxl", "flux", "klein"), ("dreambooth_lora", "purecc", "esd"))
FIRST = [
    case
    for case in {(name, key): (name, key, task) for name, key, task in reversed(cases(*NETWORKS))}.values()
    if case[1] in ("flow", "epsilon") or case[0] in FEW.get(case[1], ())
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("device")


@cache
def _network(key: str, root: Path, where: Placement) -> Backbone:
    tokens, side = {"flux": (20, 64), "klein": (40, 64)}.get(key, (0, 0))
    return backbone.load(NETWORKS[key].family, folder_of(key, root), tokens, None, side).place(where)


def _plan(name: str, key: str, task: str, root: Path) -> Plan:
    return make(*compose(request(name, key, task, folder_of(key, root), root / "runs")))


def _left(plan: Plan, network: Backbone, folder: Path) -> tuple[dict[str, Tensor], np.ndarray[Any, Any]]:
    """Returns what a training leaves, and what is then drawn with it."""
    training = plan.trainings[-1]
    adapter = instantiate(plan, training).train(bench_of(network, training.concept, folder), training.concept)
    network.clear()
    left = {k: v.cpu() for k, v in tensors(adapter).items()}
    adapter.save(folder / "adapter")
    with type(adapter).load(folder / "adapter").applied(network):
        prompts = [training.concept.target, "a cat on a beach"]
        images = network.sample(prompts, [0, 1], 2, 3.0, consistency_scale=adapter.consistency_scale)
    return left, np.stack([np.asarray(i, np.int64) for i in images])


def _plain_descent(groups: list[dict[str, Any]], **options: Any) -> torch.optim.Optimizer:
    """In place of AdamW, whose first step is the gradient's sign: of a gradient of zero, that is the rounding's."""
    return torch.optim.SGD([p for g in groups for p in g["params"]], lr=1.0)


@pytest.mark.parametrize(("name", "key", "task"), FIRST)
def test_a_method_elsewhere_leaves_and_draws_what_it_does_on_the_cpu(
    name: str, key: str, task: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", _plain_descent)
    monkeypatch.setattr(Workbench, "vocabulary", lambda self: ["dog", "car", "house", "tree", "boat"])
    plan = _plan(name, key, task, root)
    here, drawn = _left(plan, _network(key, root, HERE), tmp_path / "here")
    with elsewhere():
        away, drawn_away = _left(plan, _network(key, root, AWAY), tmp_path / "away")
    assert here.keys() == away.keys()
    for part, value in here.items():
        torch.testing.assert_close(away[part], value, rtol=1e-2, atol=1e-5)
    assert np.abs(drawn - drawn_away).max() <= 2


@pytest.mark.parametrize("family", ["flow", "epsilon"])
def test_attacks_elsewhere_find_what_they_find_on_the_cpu(
    family: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim, "AdamW", _plain_descent)
    monkeypatch.setattr(words, "TRIED", 4)

    def found(network: Backbone, folder: Path) -> tuple[Any, dict[str, Tensor]]:
        bench = bench_of(network, concept(DATASET, "erase_cat"), folder)
        pairs = [("a {words} here", "a cat here")]
        plain = words.find(network, pairs, ["cat"], 2, torch.Generator().manual_seed(0))
        factors = bench.lora("spm", 1, init="gaussian")
        for k, p in enumerate(factors):
            p.data.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) / 10)
        state = network.lora_state("spm")
        network.clear()
        network.load_lora("erased", state, gate=Gate(("cat",)))
        attacker = Attacker(bench, ["a <adv1>"] * len(bench.concept.references), ["<adv1>"], ["erased"], "auto", 2)
        left = attacker.learn(["dog"], 2, 1e-2), attacker.best_of([["car"], ["dog"]])
        network.clear()
        return plain, {f"{k} {n}": v.cpu() for k, a in enumerate(left) for n, v in tensors(a).items()}

    here = found(_network(family, root, HERE), tmp_path / "here")
    with elsewhere():
        away = found(_network(family, root, AWAY), tmp_path / "away")
    assert here[0] == away[0]
    for key, value in here[1].items():
        torch.testing.assert_close(away[1][key], value, rtol=1e-2, atol=1e-5)


def test_the_guard_raises_what_a_gpu_would() -> None:
    with elsewhere():
        x = torch.ones(3).to(DEVICE)
        for wrong in (
            lambda: x + torch.ones(3),
            lambda: torch.arange(3.0)[torch.zeros(2, dtype=torch.long).to(DEVICE)],
            lambda: torch.randn(3, device=DEVICE, generator=torch.Generator()),
        ):
            with pytest.raises(Mixed):
                wrong()
        with pytest.raises(RuntimeError, match="not supported"):
            x.numpy()
        assert (x + 1).sum().item() == 6
        assert (x.cpu() + torch.ones(3)).device.type == "cpu"


@pytest.mark.parametrize(
    ("key", "memory"),
    [*((key, "offload") for key in ("flow", "sdxl", "flux", "klein")), ("flow", "drop_text_encoders")],
)
def test_parts_that_are_not_in_use_lie_on_the_cpu(key: str, memory: str, root: Path, tmp_path: Path) -> None:
    away = Placement(str(DEVICE), offload=memory == "offload", drop_text_encoders=memory != "offload")
    plain = _drawn(_network(key, root, HERE))
    with elsewhere():
        network = _network(key, root, away)
        tower, vae = network.pipe.text_encoder, network.pipe.vae
        assert np.abs(_drawn(network) - plain).max() <= 2
        assert tower.device.type == "cpu"
        assert (vae.device.type == "cpu") == (memory == "offload")
        bench = bench_of(network, concept(DATASET, "whole_cat"), tmp_path)
        token = bench.token("word", init="cat")
        batch = bench.batch("s", 0, 2)
        bench.denoising(batch, ["word"]).backward()  # a word trains: the towers had to stay for it
        assert tower.device == DEVICE and all(row.grad is not None for row in token.rows)
        network.clear()
        _drawn(network, "another prompt")
        assert tower.device.type == "cpu"


def test_a_layerwise_word_trains_without_the_text_towers(root: Path, tmp_path: Path) -> None:
    """What they say of it is the same at every step; eleven gigabytes need not travel for it each time."""
    with elsewhere():
        network = _network("flow", root, Placement(str(DEVICE), drop_text_encoders=True))
        visits: list[bool] = []
        at_work = network.prompts.at_work
        network.prompts.at_work = lambda stay: visits.append(stay) or at_work(stay)
        bench = bench_of(network, concept(DATASET, "whole_cat"), tmp_path)
        token = bench.token("word", init="cat", layerwise=True)
        begun = len(visits)
        for step in range(20):
            bench.denoising(bench.batch("s", step, 1), ["word"]).backward()
        assert token.layers is not None
        assert token.layers.grad is not None
        assert len(visits) - begun <= len(bench.concept.references)  # once a caption
        assert network.pipe.text_encoder.device.type == "cpu"


def _drawn(network: Backbone, prompt: str = "a cat") -> np.ndarray[Any, Any]:
    (image,) = network.sample([prompt], [0], 2, 3.0)
    return np.asarray(image, np.int64)


@pytest.mark.parametrize("slot", ENCODERS)
def test_a_judge_elsewhere_says_what_it_says_on_the_cpu(slot: str) -> None:
    pictures = [read_picture(p) for p in sorted((DATASET / "concepts" / "whole_cat").glob("*.png"))[:2]]

    def said(device: str) -> Sequence[float]:
        judge = build(ENCODERS[slot], device)
        seen = judge.images(pictures) if hasattr(judge, "images") else judge.pairs(pictures, ["a cat", "a dog"])
        words = [judge.texts(["a cat"]).ravel()] if hasattr(judge, "texts") else []
        return np.concatenate([seen.ravel(), *words])

    plain = said("cpu")
    with elsewhere():
        np.testing.assert_allclose(said(str(DEVICE)), plain, atol=1e-4)
