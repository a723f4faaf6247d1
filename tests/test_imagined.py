"""What the untouched model makes for trainings: made once for all that ask for the same, whoever comes first."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.__main__ import main
from bench.compose import compose
from bench.loop import Log
from bench.memory import peak_memory
from bench.plan import make
from bench.stage_keys import imagined_parts
from tests import tiny

PRIOR = ["concept=poodle", "method.prior_images=3", "method.batch_size=2"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.unet_folder(tmp_path_factory.mktemp("models") / "unet")


def trained(model: Path, root: Path, name: str, given: list[str], steps: int | None = 2) -> dict[str, Any]:
    """Runs a method. Returns its row's costs, and the bytes of what it learned as `adapter`."""
    assert main([f"+method={name}", *tiny.run_args(model, steps=steps), *given, f"root={root}"]) == 0
    (path,) = root.glob(f"{name}/*/row.json")
    row = json.loads(path.read_text())
    kept = root / "store" / "train" / row["fingerprints"]["train"]
    return row["cost"] | {"adapter": b"".join(p.read_bytes() for p in sorted(kept.glob("*.safetensors")))}


def took(root: Path, seconds: float) -> None:
    """Has the store say that what was drawn for trainings took so long."""
    (path,) = (root / "store" / "imagined").glob("*/done.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seconds": seconds}))


def made(root: Path) -> int:
    """Returns how often the untouched model drew for trainings, as the store's log counts."""
    lines = (root / "store" / "log.jsonl").read_text().splitlines()
    return sum(json.loads(line)["stage"] == "imagined" for line in lines)


def test_methods_share_the_pictures_of_a_class_and_train_and_cost_as_if_each_drew_its_own(
    model: Path, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    first = trained(model, one, "dreambooth", PRIOR)
    took(one, 1000.0)
    second = trained(model, one, "custom_diffusion", PRIOR)
    assert made(one) == 1
    alone = trained(model, other, "custom_diffusion", PRIOR)
    assert made(other) == 1
    assert second["adapter"] == alone["adapter"] != first["adapter"]
    counted = ("forward_images", "grad_forward_images", "steps", "parameters")
    assert {k: second[k] for k in counted} == {k: alone[k] for k in counted}
    assert second["forward_images"] == 2 * 2 * 3  # branches × sampler steps × pictures
    assert second["seconds"] > 1000 > first["seconds"]  # found, and counted
    assert not [k for k in second if k.startswith("counted")]


def test_what_is_worked_out_takes_time_too(model: Path, tmp_path: Path) -> None:
    """UCE has no loop, whose clock tells what others took."""
    given = ["concept=erase_cat", "protocol.attacks=null", "protocol.metrics=[metrics.preservation.drift]",
             "protocol.seeds.unrelated=1"]  # fmt: skip
    assert 0.001 < trained(model, tmp_path, "uce", given, steps=None)["seconds"] < 1000


def test_an_erasers_anchors_are_in_what_its_training_took(model: Path, tmp_path: Path) -> None:
    """They are drawn before its loop."""
    given = ["concept=erase_cat", "protocol.attacks=null", "method.anchor_images=5",
             "protocol.metrics=[metrics.preservation.drift]", "protocol.seeds.unrelated=1"]  # fmt: skip
    assert 0 < trained(model, tmp_path, "concept_ablation", given)["seconds"] < 1000
    took(tmp_path, 1000.0)
    shutil.rmtree(tmp_path / "concept_ablation")
    shutil.rmtree(tmp_path / "store" / "train")
    assert trained(model, tmp_path, "concept_ablation", given)["seconds"] > 1000
    assert made(tmp_path) == 1


def test_what_is_drawn_goes_by_all_it_depends_on_and_nothing_else() -> None:
    def key(*given: str, stage: str = "prior", prompts: tuple[str, ...] = ("a cat",), beneath: str = "") -> str:
        config = make(*compose(["+method=dreambooth", "model=sticker-unet", "concept=poodle", *given])).config
        return json.dumps(imagined_parts(config, "weights", beneath, stage, prompts))

    same = {key(), key("method.lr=0.1"), key("concept=whole_cat"), key("protocol.seeds.class=1")}
    assert len(same) == 1
    others = [key("seed=1"), key("model.steps=4"), key("model.guidance_scale=1.0"), key(stage="anchor"),
              key(prompts=("a dog",)), key(prompts=("a cat", "a cat")), key(beneath="k")]  # fmt: skip
    assert len({*same, *others}) == 8


def test_the_clock_of_a_training_stands_while_it_is_stopped() -> None:
    log = Log({}, {"seconds": 0.0}, begun=time.monotonic())
    with log.stopped():
        time.sleep(0.3)
    log.read()
    assert 0 <= log.cost["seconds"] < 0.2
    time.sleep(0.05)
    log.read()
    assert log.cost["seconds"] >= 0.05


def test_a_block_on_a_gpu_keeps_its_peak_where_one_inside_it_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"peak": 0, "used": 0}

    def uses(mib: int) -> None:
        now["used"] = mib * 2**20
        now["peak"] = max(now["peak"], now["used"])

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: now.update(peak=now["used"]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: now["used"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: now["peak"])
    uses(10)
    with peak_memory("cuda") as outer:
        uses(50)
        uses(20)
        with peak_memory("cuda") as inner:
            uses(35)
            uses(20)
        assert (inner(), outer()) == (15.0, 40.0)
        uses(70)
    assert outer() == 60.0
