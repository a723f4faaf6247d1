"""Concepts made of others: how they are put together, asked for, trained apart and erased again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from bench.adapter import Adapter, Lora
from bench.backbone.base import Backbone
from bench.backbone.gate import Gate
from bench.backbone.standing import standing
from bench.compose import compose
from bench.composite import Composite, composed
from bench.data.concept_file import load
from bench.errors import BenchError
from bench.grid import grid, load_templates
from bench.plan import make
from bench.stages.training import instantiate
from tests import tiny

SEEDS = {"concept": 1, "part": 1, "class": 1, "neighbour": 1}


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny.load_unet(tiny.unet_folder(tmp_path_factory.mktemp("tiny")))


def test_every_part_has_a_word_of_its_own(dataset: Path) -> None:
    both = load(dataset, "cat_and_poodle")
    assert [p.token for p in both.parts] == ["<new1>", "<new2>"]
    assert both.target == "<new1> cat and a <new2> dog"
    assert all("<new2>" in r.complete and "<new1>" not in r.complete for r in both.parts[1].references)
    assert [both.references[i].image.split("/")[0] for i in both.of_part(1)] == ["poodle"] * 5
    assert all(p.is_file() for p in both.image_paths())
    assert len(both.of_part(None)) == 10


def test_a_subject_in_a_style_is_asked_for_with_both_words(dataset: Path) -> None:
    prompts = grid(load(dataset, "cat_in_ink"), load_templates(dataset), SEEDS).prompts("concept")
    assert prompts[0].complete == "a <new2> picture of a <new1> cat in the snow"
    assert prompts[0].base == "a picture of a cat in the snow"


def test_each_part_is_asked_for_alone(dataset: Path) -> None:
    cells = grid(load(dataset, "cat_in_ink"), load_templates(dataset), SEEDS)
    alone = cells.prompts("part")
    assert [p.part for p in alone] == [0, 0, 1, 1]
    assert alone[0].complete == "a 3d render of a <new1> cat in the snow"
    assert alone[2].complete == "a <new2> picture of a fox in the snow"
    plain = grid(load(dataset, "whole_cat"), load_templates(dataset), SEEDS)
    assert not plain.prompts("part")


def test_what_is_near_to_each_of_several_is_asked_for(dataset: Path) -> None:
    both = load(dataset, "car_and_monkey")
    near = grid(both, load_templates(dataset), SEEDS).prompts("neighbour")
    said = [p.base.split(" of ")[1].split()[1] for p in near]
    assert len(near) == 6
    assert set(said[:3]) <= set(both.parts[0].neighbours)
    assert set(said[3:]) <= set(both.parts[1].neighbours)
    assert {p.part for p in near} == {None}
    twins = both.model_copy(update={"parts": [both.parts[0], both.parts[0]], "neighbours": both.parts[0].neighbours})
    assert [p.base for p in grid(twins, load_templates(dataset), SEEDS).prompts("neighbour")] == [
        p.base for p in near[:3]
    ]


def test_several_that_are_erased_are_asked_for_as_one_is(dataset: Path) -> None:
    templates = load_templates(dataset)
    cells = grid(load(dataset, "erase_cat_and_rocket"), templates, SEEDS | {"alias": 1, "compose": 1})
    assert len(cells.prompts("concept")) == len(templates["erase.concept"])
    assert {p.base.split(" of ")[0] for p in cells.prompts("part")} == {
        "a 3d render", "a cartoon", "a flat icon", load(dataset, "erase_cat").medium,
    }  # fmt: skip
    for channel in ("part", "alias", "compose"):
        asked = cells.prompts(channel)
        assert [p.part for p in asked] == [0] * (len(asked) // 2) + [1] * (len(asked) // 2)
    of_cat, of_rocket = cells.prompts("compose")[0], cells.prompts("compose")[-1]
    assert (" cat " in of_cat.base, " dog " in of_cat.surrogate) == (True, True)
    assert " rocket " in of_rocket.base
    others = [p.base for p in cells.prompts("alias")]
    assert len(others) == 2 * len(templates["alias"])
    assert [("kitty" in o, "spaceship" in o) for o in others] == [(True, False)] * 4 + [(False, True)] * 4


def test_one_part_without_a_surrogate_leaves_the_channel_without(dataset: Path) -> None:
    """Else the floor of a leakage would be of one part, and the rest of both."""
    both = load(dataset, "erase_cat_and_rocket")
    parts = [both.parts[0], both.parts[1].model_copy(update={"surrogate": ""})]
    cells = grid(both.model_copy(update={"parts": parts}), load_templates(dataset), SEEDS)
    assert not any(c.prompt.surrogate for c in cells.cells)
    assert all(p.surrogate for p in grid(both, load_templates(dataset), SEEDS).prompts("part"))


def test_what_is_near_to_two_parts_is_asked_for_once(dataset: Path) -> None:
    both = load(dataset, "car_and_monkey")
    first, second = both.parts
    parts = [first, second.model_copy(update={"neighbours": [first.neighbours[0], "owl"]})]
    near = [*first.neighbours, "owl"]
    cells = grid(both.model_copy(update={"parts": parts, "neighbours": near}), load_templates(dataset), SEEDS)
    assert all(" an owl " in p.base for p in cells.prompts("neighbour")[3:])
    assert len({p.base for p in cells.prompts("neighbour")}) == 6


def test_several_at_once_may_have_templates_of_their_own(dataset: Path) -> None:
    templates = load_templates(dataset) | {f"multi.{c}": [f"two, {c}: a {{noun}}"] for c in ("concept", "neighbour")}
    cells = grid(load(dataset, "car_and_monkey"), templates, SEEDS)
    for channel, count in (("concept", 1), ("neighbour", 2)):
        assert [p.base[: len("two, ") + len(channel)] for p in cells.prompts(channel)] == [f"two, {channel}"] * count
    assert cells.prompts("part")[0].base == cells.prompts("part")[0].complete.replace("<new1> ", "")


def test_parts_of_one_set_of_prompts_make_a_whole_of_it(dataset: Path) -> None:
    said = Composite(name="x", kind="multi", parts=["a", "b"])
    live, plain = (load(dataset, "whole_cat").model_copy(update={"prompts": p}) for p in ("live", ""))
    assert composed(said, [live, live], dataset).prompts == "live"
    assert composed(said, [live, plain], dataset).prompts == ""


def test_what_is_erased_is_no_class_to_preserve(dataset: Path) -> None:
    for name in ("erase_cat", "erase_cat_and_rocket"):
        assert not grid(load(dataset, name), load_templates(dataset), SEEDS).prompts("class")
    assert grid(load(dataset, "roundtrip_cat"), load_templates(dataset), SEEDS).prompts("class")


def test_a_round_trip_is_learned_and_erased_back_to_its_class(dataset: Path) -> None:
    trip = load(dataset, "roundtrip_cat")
    assert (trip.target, trip.surrogate) == ("<new1> cat", "cat")
    assert trip.parts[0].kind == "subject"


@pytest.mark.parametrize(
    ("kind", "parts", "says"),
    [
        ("subject_style", ["whole_cat", "poodle"], "one subject and one style"),
        ("multi", ["whole_cat"], "two or more subjects"),
        ("multi", ["whole_cat", "erase_cat"], "two or more subjects"),
        ("roundtrip", ["style_ink"], "one subject would be right"),
        ("multi", ["whole_cat", "roundtrip_cat"], "itself composite"),
        ("multi", ["whole_cat", "nobody"], "no concept 'nobody'"),
        ("multi", ["whole_cat", "mix"], "mix is itself composite"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    dataset: Path, tmp_path: Path, kind: str, parts: list[str], says: str
) -> None:
    odd = tmp_path / "odd"
    odd.mkdir()
    for name in {*parts, "whole_cat"} - {"nobody", "mix"}:
        (odd / "concepts").mkdir(exist_ok=True)
        (odd / "concepts" / name).symlink_to(dataset / "concepts" / name)
    (odd / "concepts" / "mix").mkdir()
    said = {"name": "mix", "kind": kind, "parts": parts}
    (odd / "concepts" / "mix" / "concept.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(BenchError, match=says):
        load(odd, "mix")


def test_a_weight_is_a_number(dataset: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(dataset / "concepts", tmp_path / "odd" / "concepts")
    said = yaml.safe_load((copy / "cat_in_ink" / "concept.yaml").read_text()) | {"weights": [float("nan"), 1]}
    (copy / "cat_in_ink" / "concept.yaml").write_text(yaml.safe_dump(said))
    with pytest.raises(BenchError, match=r"weights\.0: .*finite"):
        load(tmp_path / "odd", "cat_in_ink")


def _plan(*given: str) -> Any:
    return make(*compose(list(given)))


def test_parts_are_trained_once_for_every_concept_they_are_in() -> None:
    both = _plan("+method=dreambooth_lora", "concept=cat_in_ink")
    alone = _plan("+method=dreambooth_lora", "concept=whole_cat")
    assert [t.concept.name for t in both.trainings] == ["whole_cat", "style_ink"]
    assert both.trainings[0].key == alone.trainings[0].key
    assert both.keys["train"] not in {t.key for t in both.trainings}


def test_a_round_trip_erases_what_the_customizer_learned() -> None:
    trip = _plan("+method=uce", "concept=roundtrip_cat", "model=sticker-unet")
    learned, erased = trip.trainings
    assert learned.key == _plan("+method=dreambooth_lora", "concept=whole_cat", "model=sticker-unet").keys["train"]
    assert erased.beneath == learned.key
    assert erased.method == "uce"
    other = _plan("+method=uce", "concept=roundtrip_cat", "model=sticker-unet", "customizer=textual_inversion")
    assert other.keys["train"] != trip.keys["train"]
    assert "learned" in trip.keys
    with pytest.raises(BenchError, match="customizer=nobody: no such method"):
        _plan("+method=uce", "concept=roundtrip_cat", "model=sticker-unet", "customizer=nobody")


def test_a_method_must_serve_the_parts_and_the_whole() -> None:
    plan = _plan("+method=classdiffusion", "concept=cat_in_ink")
    with pytest.raises(BenchError, match="cat_in_ink is of kind subject_style"):
        instantiate(plan, plan.trainings[0])


def _lora(network: Backbone, seed: int) -> Adapter:
    network.clear()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for p in network.add_lora("x", 2, network.modules("attention"), init="gaussian"):
            p.copy_(0.3 * torch.randn(p.shape, generator=generator))
    adapter = Adapter([Lora(network.lora_state("x"), weight=0.7)], prefix=network.prefix)
    network.clear()
    return adapter


def test_what_stands_beneath_is_the_adapter_to_the_bit_and_goes_away(unet: Backbone) -> None:
    adapter = _lora(unet, 0)
    draw: Callable[[], Any] = lambda: np.asarray(unet.sample(["a cat"], [1], 3, 3.0, base=["a cat"])[0], int)  # noqa: E731
    plain = draw()
    with adapter.applied(unet):
        worn = draw()
    with standing(unet, adapter):
        beneath = draw()
        with _lora(unet, 1).applied(unet):
            both = draw()
    assert (draw() == plain).all()
    assert abs(beneath - worn).max() <= 1  # one rounding apart: W + BA at once, not Wx + BAx
    assert (worn != plain).any()
    assert (both != worn).any()


def test_a_word_beneath_stays_in_use(unet: Backbone, dataset: Path, tmp_path: Path) -> None:
    workbench = tiny.bench_of(unet, tiny.concept(dataset, "whole_cat"), tmp_path)
    word = workbench.token("word", init="cat")
    with torch.no_grad():
        word.rows[0].add_(1.0)
    adapter = workbench.adapter(word="word")
    unet.clear()
    with torch.no_grad(), adapter.applied(unet):
        worn = unet.encode_prompts(["a <new1> cat"]).embeds
    with torch.no_grad(), standing(unet, adapter):
        assert torch.equal(unet.encode_prompts(["a <new1> cat"]).embeds, worn)
        with unet.using([]):
            assert torch.equal(unet.encode_prompts(["a <new1> cat"]).embeds, worn)
    unet.clear()


def test_a_rule_cannot_stand_beneath(unet: Backbone) -> None:
    gated = Adapter([Lora(_lora(unet, 0).loras[0].factors, gate=Gate(("cat",)))])
    with pytest.raises(BenchError, match="gate or by guidance"), standing(unet, gated):
        pass
