"""Every method in bfloat16 on every kind of model: the whole of a run.

Which task it is takes turns, and of one class one method stands for all on networks that are not the embedded world's;
`test_matrix_*.py` have them all in float32, and `test_precision.py` how near the two are.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench.__main__ import main
from bench.adapter import Adapter
from bench.compose import compose
from bench.contract.brief import Case, tensors, unlike
from bench.paths import shipped
from bench.plan import make
from bench.row import Row
from bench.stages.resident import backbone_of
from tests.matrix import NETWORKS, folder_of, request, turns

NOTHING = ("none", "references")  # the anchors: nothing trains


CASES = turns(*NETWORKS, variants=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bf16")


@pytest.mark.parametrize(("name", "network", "task"), CASES)
def test_it_trains_saves_loads_and_draws_and_leaves_the_model_alone(
    name: str, network: str, task: str, root: Path
) -> None:
    runs = root / "runs" / network
    asked = [*request(name, network, task, folder_of(network, root), runs), "model.dtype=bfloat16"]
    plan = make(*compose(asked))
    resident = backbone_of(plan)
    assert {p.dtype for p in resident.denoiser.parameters()} == {torch.bfloat16}
    model = Case(resident, (), dict)
    before = model.weights()

    assert main(asked) == 0
    row = Row.model_validate_json((plan.folder / "row.json").read_text())
    assert (row.status, row.kind) == ("ok", task), row.reason

    assert backbone_of(plan) is resident  # the run was on this one
    assert unlike(before, model.weights()) == ""
    for training in plan.trainings:
        sound(Adapter.load(runs / "store" / "train" / training.key), training.method)
    drawn = list((runs / "store" / "generate" / plan.keys["generate"]).rglob("*.png"))
    assert drawn and all(np.asarray(Image.open(p)).std() > 0 for p in drawn)


def sound(adapter: Adapter, name: str) -> None:
    """What was learned is not nothing, and it and every loss are finite numbers of single precision or of a file's."""
    assert all(math.isfinite(v) for curve in adapter.log.values() for v in curve)
    assert bool(adapter.log) == (adapter.cost.get("steps", 0) > 0)
    left = tensors(adapter).values()
    assert all(v.isfinite().all() and v.dtype in (torch.float32, torch.float16) for v in left)
    assert any(v.any() for v in left) == (name not in NOTHING)


@pytest.mark.parametrize(("name", "network"), [("uce", "epsilon"), ("spm", "sdxl"), ("esd", "flux")])
def test_what_was_learned_stands_in_half_precision_while_it_is_erased(name: str, network: str, root: Path) -> None:
    """The eraser takes the model with the concept for the untouched one: its pictures are not the untouched model's."""
    own = root / "own"
    (own / "method").mkdir(parents=True, exist_ok=True)
    brief = yaml.safe_load((shipped("conf") / "method" / "dreambooth_lora.yaml").read_text())
    (own / "method" / "brief.yaml").write_text(yaml.safe_dump(brief | {"rank": 1, "steps": 3, "lr": 1e-2}))
    runs = root / "learned" / network
    asked = request(name, network, "roundtrip", folder_of(network, root), runs)
    given = [*("customizer=brief" if a == "customizer=none" else a for a in asked), "model.dtype=bfloat16"]
    assert main(["--config-dir", str(own), *given]) == 0
    (path,) = runs.glob(f"{name}/*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert row.status == "ok", row.reason
    drawn = {s: runs / "store" / s_of / row.fingerprints[s] for s, s_of in (("base", "base"), ("learned", "generate"))}
    pictures = {s: [p.read_bytes() for p in sorted(folder.rglob("*.png"))] for s, folder in drawn.items()}
    assert len(pictures["base"]) == len(pictures["learned"]) > 0
    assert pictures["base"] != pictures["learned"]
    assert row.cost["adapter_bytes"] > 0
