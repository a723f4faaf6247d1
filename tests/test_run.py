"""A whole run on the shipped models, made small: train, generate, score, record; again, and interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import checkpoint, workbench
from bench.__main__ import main
from bench.row import Row
from bench.rows.place import board_of

SEEDS = "protocol.seeds={concept: 2, class: 1, neighbour: 1, unrelated: 1, empty: 1}"
SMALL = ["concept=racing_car", "model.steps=3", SEEDS]
DREAMBOOTH = ["+method=dreambooth_lora", "method.steps=4", *SMALL]
PURECC = ["+method=purecc", "method.extractor_steps=4", "method.steps=4", *SMALL]


def run(args: list[str], root: Path) -> Row:
    assert main([*args, f"root={root}"]) == 0
    (path,) = root.glob(f"{args[0].split('=')[1]}/*/row.json")
    return Row.model_validate_json(path.read_text())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Row]:
    root = tmp_path_factory.mktemp("first")
    return root, run(PURECC, root)


def test_a_row_comes_out(first: tuple[Path, Row]) -> None:
    root, row = first
    assert row.status == "ok" and row.method == "purecc" and row.concept == "racing_car"
    assert {"clip_i", "clip_t", "dino", "drift/empty", "delta_clip_t/class"} <= set(row.measured)
    assert set(row.anchors) == {"none", "references"}
    assert all(v.low <= v.value <= v.high for v in row.measured.values())
    assert row.anchors["none"]["drift/class"].value == pytest.approx(0, abs=1e-6)
    assert row.anchors["references"]["dino"].value > row.anchors["none"]["dino"].value
    assert row.cost["steps"] == 8 and row.cost["parameters"] > 0
    # stage 1: 4 steps of 2 samples; stage 2: two predictions with a gradient and two without
    assert row.cost["grad_forward_images"] == 4 * 2 + 4 * 2 * 2 and row.cost["forward_images"] == 4 * 2 * 2
    assert list((root / "purecc").glob("*/report.html"))


def test_the_same_command_gives_the_same_row(first: tuple[Path, Row], tmp_path: Path) -> None:
    again = run(PURECC, tmp_path)
    assert again.digest() == first[1].digest()
    assert run([*PURECC, "seed=1"], tmp_path / "other").digest() != again.digest()


def test_a_third_time_nothing_is_computed(first: tuple[Path, Row], capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("bench.stages.resident.backbone_of", lambda plan: pytest.fail("the model was loaded"))
    root, _ = first
    assert main([*PURECC, f"root={root}"]) == 0
    assert "already" in capsys.readouterr().out


def test_an_interrupted_run_continues_to_the_same_row(
    first: tuple[Path, Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in stage 1, in stage 2 and while drawing; each time issued again."""
    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    original = workbench.Workbench.batch
    for stage, step in (("extractor", 2), ("student", 3)):

        def stop(
            self: workbench.Workbench, s: str, k: int, size: int, at: tuple[str, int] = (stage, step)
        ) -> workbench.Batch:
            if (s, k) == at:
                raise KeyboardInterrupt
            return original(self, s, k, size)

        monkeypatch.setattr(workbench.Workbench, "batch", stop)
        assert main([*PURECC, f"root={tmp_path}"]) == 130
        assert not list(tmp_path.glob("purecc/*"))
    monkeypatch.setattr(workbench.Workbench, "batch", original)

    from bench.backbone.sd3 import SD3

    sample, calls = SD3.sample, []

    def stop_drawing(self: SD3, *args: Any, **rules: Any) -> object:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return sample(self, *args, **rules)

    monkeypatch.setattr(SD3, "sample", stop_drawing)
    assert main([*PURECC, f"root={tmp_path}"]) == 130
    monkeypatch.setattr(SD3, "sample", sample)
    assert run(PURECC, tmp_path).digest() == first[1].digest()


def test_a_metric_added_later_is_all_that_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No training, no picture, and no picture encoded again: its features were kept."""
    measured = "protocol.metrics=[metrics.dino.dino,metrics.preservation.drift{}]"
    before = run([*DREAMBOOTH, measured.format("")], tmp_path)
    pictures = sorted((tmp_path / "store" / "generate").rglob("*.png"))
    monkeypatch.setattr("bench.stages.resident.backbone_of", lambda plan: pytest.fail("the model was loaded"))
    monkeypatch.setattr(
        "bench.judges.dino.Dino.images", lambda self, images: pytest.fail("pictures were encoded again")
    )
    (old,) = (tmp_path / "dreambooth_lora").iterdir()
    assert main([*DREAMBOOTH, measured.format(",metrics.novelty.diversity"), f"root={tmp_path}"]) == 0
    (new,) = {p.parent for p in tmp_path.glob("dreambooth_lora/*/row.json")} - {old}
    row = Row.model_validate_json((new / "row.json").read_text())
    added = {name: value for name, value in row.measured.items() if name not in before.measured}
    assert {name.partition("/")[0] for name in added} == {"diversity"}
    assert before.measured == {name: row.measured[name] for name in before.measured}
    assert sorted((tmp_path / "store" / "generate").rglob("*.png")) == pictures


def test_methods_share_the_base_models_pictures(first: tuple[Path, Row], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = first
    before = sorted(p.name for p in (root / "store" / "base").glob("*"))
    row = run(DREAMBOOTH, root)
    assert sorted(p.name for p in (root / "store" / "base").glob("*")) == before
    assert row.anchors == first[1].anchors


def test_stock_diffusers_loads_what_dreambooth_trained(first: tuple[Path, Row]) -> None:
    import numpy as np
    import torch
    from diffusers import StableDiffusion3Pipeline

    from bench import backbone
    from bench.adapter import Adapter
    from bench.backbone.files import resolve

    row = run(DREAMBOOTH, first[0])
    folder, model = first[0] / "store" / "train" / row.fingerprints["train"], resolve("embedded:sticker-flow")
    flow, prompt = backbone.load("flow", model, 0), "a flat icon of a <new1> car at night"
    with Adapter.load(folder).applied(flow):
        ours = np.asarray(flow.sample([prompt], [7], 6, 3.0)[0], int)
    plain = np.asarray(flow.sample([prompt], [7], 6, 3.0)[0], int)
    stock = StableDiffusion3Pipeline.from_pretrained(model, text_encoder_3=None, tokenizer_3=None).to(torch.float32)
    stock.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    generator = torch.Generator().manual_seed(7)
    theirs = stock(prompt, num_inference_steps=6, guidance_scale=3.0, max_sequence_length=0, generator=generator)
    assert abs(ours - np.asarray(theirs.images[0], int)).max() <= 2
    assert abs(ours - plain).max() > 10  # the LoRA does something


def test_the_untouched_model_is_its_own_anchor(first: tuple[Path, Row]) -> None:
    row = run(["+method=none", *SMALL], first[0])
    for name, value in row.measured.items():
        anchor = row.anchors["none"].get(name)  # a score that is a share of the untouched model has none
        assert value.value == pytest.approx(anchor.value if anchor else 0, abs=1e-6), name
    assert "erosion/class" in row.measured


def test_a_diverged_run_is_a_row_that_says_so(tmp_path: Path) -> None:
    args = ["+method=dreambooth_lora", "method.lr=1e18", "method.steps=6", *SMALL, f"root={tmp_path}"]
    assert main(args) == 1
    (path,) = tmp_path.glob("dreambooth_lora/*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert row.status == "diverged" and "dreambooth" in row.reason and not row.measured
    assert board_of(row) == "stickers-sticker-flow-subject"
    assert json.loads((path.parent / "log.json").read_text())


def test_two_things_whose_erasing_diverged_stand_on_the_board_of_erasing(tmp_path: Path) -> None:
    asked = ["+method=esd", "method.lr=1e18", "method.steps=6", *SMALL[1:], "concept=erase_cat_and_rocket"]
    assert main([*asked, f"root={tmp_path}"]) == 1
    (path,) = tmp_path.glob("esd/*/row.json")
    row = Row.model_validate_json(path.read_text())
    assert row.status == "diverged" and board_of(row) == "stickers-sticker-flow-multi_erase"


def test_what_diverged_once_is_not_trained_again_when_only_its_scoring_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from methods.dreambooth_lora import DreamBoothLora

    args = ["+method=dreambooth_lora", "method.lr=1e18", "method.steps=6", *SMALL, f"root={tmp_path}"]
    assert main(args) == 1
    monkeypatch.setattr(DreamBoothLora, "train", lambda *_: pytest.fail("it was trained again"))
    assert main([*args, "protocol.metrics=[metrics.dino.dino]"]) == 1
    first, second = (Row.model_validate_json(p.read_text()) for p in tmp_path.glob("dreambooth_lora/*/row.json"))
    assert (second.status, second.reason) == (first.status, first.reason) == ("diverged", first.reason)
    curves = [p.read_text() for p in tmp_path.glob("dreambooth_lora/*/log.json")]
    assert curves[0] == curves[1] and json.loads(curves[0])
    assert not list(tmp_path.glob("store/train/*.checkpoints"))


def test_a_run_of_which_nothing_can_be_measured_says_so_once(
    first: tuple[Path, Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.judges.detector.SURE", 2.0)  # no detector is that sure
    args = ["+method=none", "protocol.metrics=[metrics.leakage.concept_rate]", *SMALL, f"root={first[0]}"]
    before = set(first[0].glob("none/*"))
    assert main(args) == 1
    (folder,) = set(first[0].glob("none/*")) - before
    row = Row.model_validate_json((folder / "row.json").read_text())
    assert (row.status, row.measured) == ("unmeasurable", {})
    assert row.reason.startswith("concept_rate: the detector tells")
    assert set(row.unmeasured) == {f"concept_rate{c}" for c in ("", "/class", "/neighbour", "/unrelated", "/empty")}
    monkeypatch.setattr("bench.run.record", lambda *_: pytest.fail("it was measured again"))
    assert main(args) == 1


def test_a_method_outside_its_task_is_refused_before_anything_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["+method=purecc", "concept=erase_cat", f"root={tmp_path}"]) == 2
    assert "erase" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_root_that_nobody_can_write_is_refused_before_anything_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["+method=none", *SMALL, "root=/proc"]) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error")]
    assert "root=/proc: " in line and "a folder that can be written would be right" in line
