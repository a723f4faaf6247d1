"""Attacks: what they find, what they leave alone, and what they are compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench import backbone
from bench.adapter import Adapter, Lora
from bench.attacks.control import scenes_of
from bench.attacks.soft import Attacker, named
from bench.attacks.words import find, plain_words
from bench.backbone.base import Backbone
from bench.backbone.files import resolve
from bench.backbone.gate import Gate
from bench.errors import BenchError
from bench.row import Row
from bench.sides import applied
from tests import tiny


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny.load_unet(tiny.unet_folder(tmp_path_factory.mktemp("unet")))


@pytest.fixture(scope="module")
def cat(dataset: Path) -> Any:
    return tiny.concept(dataset, "erase_cat")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- words -------------------------------------------------------------------------------------


def test_words_share_no_token_with_the_name_and_stand_nearer_to_it_than_chance(unet: Backbone) -> None:
    blanks = [("a cartoon of a {words} in the snow", "a cartoon of a cat in the snow")]
    found, random = find(unet, blanks, ["cat", "kitty"], 2, seeded())
    assert find(unet, blanks, ["cat", "kitty"], 2, seeded()) == (found, random)
    tokenizer = unet.prompts.tokenizers[0]
    names = {i for n in ("cat", "kitty") for i in tokenizer(n, add_special_tokens=False).input_ids}
    assert not names & set(tokenizer(found[0], add_special_tokens=False).input_ids)
    from bench.attacks.words import _read

    target = _read(unet, [blanks[0][1]])
    near, chance = (float(_read(unet, [blanks[0][0].replace("{words}", w[0])]) @ target.T) for w in (found, random))
    assert near > chance


def test_plain_words_leave_the_name_out(unet: Backbone) -> None:
    words = plain_words(unet, ["cat"], seeded())
    assert "cat" not in words
    assert len(set(words)) == len(words) > 50


# --- gradients ---------------------------------------------------------------------------------


def attacker(unet: Backbone, cat: Any, folder: Path, on: list[str], length: int = 2, gate: Any = "auto") -> Attacker:
    words = named(length)
    bench = tiny.bench_of(unet, cat, folder) if not on else _bench(unet, cat, folder)
    return Attacker(bench, [f"{' '.join(words)} {r.base}" for r in cat.references], words, on, gate, 4)


def _bench(unet: Backbone, cat: Any, folder: Path) -> Any:
    from bench.checkpoint import Checkpoint
    from bench.workbench import Workbench

    return Workbench(unet, cat, 0, tiny.MODEL, Checkpoint(folder / "c", every=1e9))


def lora(unet: Backbone, gate: Gate | None = None) -> Adapter:
    """A LoRA that does something."""
    torch.manual_seed(1)
    unet.add_lora("made", 1, unet.modules("text_attention"), False)
    state = unet.lora_state("made")
    unet.clear()
    return Adapter(loras=[Lora(state, gate=gate)], prefix=unet.prefix)


def test_a_prefix_lowers_the_erased_models_loss_and_is_the_same_again(unet: Backbone, cat: Any, tmp_path: Path) -> None:
    def run(folder: Path) -> tuple[float, float, Adapter]:
        with applied(unet, [lora(unet)]) as on:
            attack = attacker(unet, cat, folder, on)
            attack.best_of([["red", "blue"]])
            batch = attack.batch(3)
            before = float(attack.loss(batch, grad=False))
            found = attack.learn(["red", "blue"], 12, 0.05)
            return before, float(attack.loss(batch, grad=False)), found

    before, after, found = run(tmp_path / "a")
    assert after < before
    _, again, same = run(tmp_path / "b")
    assert again == after
    assert [t["text"] for t in found.tokens] == named(2)
    for one, other in zip(found.tokens, same.tokens, strict=True):
        assert all(torch.equal(one["state"][k], other["state"][k]) for k in one["state"])


def test_an_attack_leaves_the_erasing_adapter_and_the_model_as_they_are(
    unet: Backbone, cat: Any, tmp_path: Path
) -> None:
    def weights() -> dict[str, torch.Tensor]:  # a layer that once had factors is called otherwise
        return {k.replace(".base_layer.", "."): v.clone() for k, v in unet.denoiser.state_dict().items()}

    before, erasing = weights(), lora(unet)
    with applied(unet, [erasing]) as on:
        attacker(unet, cat, tmp_path, on).learn(["red", "blue"], 3, 0.1)
        loaded = unet.lora_state(on[0])
    assert all(torch.equal(loaded[k], v) for k, v in erasing.loras[0].factors.items())
    after = weights()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_the_control_is_the_best_of_what_was_drawn(unet: Backbone, cat: Any, tmp_path: Path) -> None:
    tries = [["red", "blue"], ["cat", "cat"], ["snow", "night"]]
    with applied(unet, []) as on:
        attack = attacker(unet, cat, tmp_path, on)
        losses = []
        for words in tries:
            attack.best_of([words])
            losses.append(float(attack.loss(attack.batch(0), grad=False)))
        best = attack.best_of(tries)
    assert [t["init"] for t in best.tokens] == tries[losses.index(min(losses))]


@pytest.mark.parametrize(("gate", "same"), [("closed", True), ("open", False)])
def test_gates_stand_as_they_are_told(unet: Backbone, cat: Any, tmp_path: Path, gate: str, same: bool) -> None:
    with applied(unet, []) as on:
        plain = attacker(unet, cat, tmp_path / "a", on, gate=gate)
        plain.best_of([["red", "blue"]])
        untouched = float(plain.loss(plain.batch(0), grad=False))
    with applied(unet, [lora(unet, Gate(("cat",)))]) as on:
        gated = attacker(unet, cat, tmp_path / "b", on, gate=gate)
        gated.best_of([["red", "blue"]])
        shut = float(gated.loss(gated.batch(0), grad=False))
    assert (shut == pytest.approx(untouched, abs=1e-6)) is same
    assert not unet.gating.values


# --- a whole run -------------------------------------------------------------------------------

GIVEN = [
    "concept=erase_cat", "model=sticker-unet", "model.name=tiny", "model.steps=2", "tuned=none",
    "protocol.seeds={concept: 2, neighbour: 2}",
    "dataset.novel=[whole_pig,whole_cow,garden_house,minibus]",
    "protocol.attacks={words: {length: 1, seeds: 2}, prefix: {length: 2, steps: 2, seeds: 2}, "
    "inversion: {steps: 2, seeds: 2}}",
    "protocol.metrics=[metrics.detection.detected,metrics.likeness.resembles,metrics.leakage.imitation]",
]  # fmt: skip


def rows(command: list[str], root: Path) -> Row:
    from bench.__main__ import main

    assert main([*command, *GIVEN, f"root={root}"]) == 0
    (path,) = root.glob(f"{command[0].partition('=')[2]}/*/row.json")
    return Row.model_validate_json(path.read_text())


def test_every_attack_is_in_the_row_and_what_it_needs_of_the_untouched_model_is_made_once(tmp_path: Path) -> None:
    folder = tiny.unet_folder(tmp_path / "unet")
    root = tmp_path / "runs"
    first = rows(["+method=none", f"model.path={folder}"], root)
    made = {p.name for p in (root / "store" / "base").iterdir() if p.is_dir()}
    for channel in ("words", "prefix", "inversion"):
        assert first.measured[f"detected/{channel}"].value == first.anchors["none"][f"detected/{channel}"].value or (
            channel == "prefix"  # the untouched model is asked there without it
        )
        assert first.measured[f"detected/{channel}"].n == 8
    assert "detected/prefix" in first.anchors["control"]
    rate = first.measured["imitation"]
    assert (rate.n, rate.value) == (2 * 4, first.anchors["none"]["imitation"].value)
    second = rows(["+method=uce", f"model.path={folder}"], root)
    assert {p.name for p in (root / "store" / "base").iterdir() if p.is_dir()} == made
    assert second.anchors["none"] == first.anchors["none"]
    page = next(root.glob("uce/*/report.html")).read_text()
    assert "words at random" in page
    assert "a new word found by gradient" in page


def test_an_inversion_without_a_control_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from bench.__main__ import main

    assert main(["+method=none", *GIVEN[:2], "dataset.novel=[]"]) == 2
    assert "dataset.novel must name" in capsys.readouterr().err


def test_things_that_no_model_knows_share_the_scenes() -> None:
    for things in range(1, 13):
        asked = [scenes_of(k, things, 4) for k in range(things)]
        assert {s for some in asked for s in some} == {0, 1, 2, 3}
        assert sum(map(len, asked)) == max(things, 4)  # one scene each of many, every scene once of few
        assert all(asked)


def test_the_control_is_the_same_for_every_concept_and_its_own_for_every_training() -> None:
    from bench.compose import compose
    from bench.plan import make

    def keys(*asked: str) -> dict[str, str]:
        return make(*compose([*asked, "model=sticker-unet"])).keys

    cat, rocket = keys("+method=esd", "concept=erase_cat"), keys("+method=esd", "concept=erase_rocket")
    fewer = keys("+method=esd", "concept=erase_cat", "dataset.novel=[whole_pig,minibus]")
    assert cat["novelty-base"] == rocket["novelty-base"] != fewer["novelty-base"]
    assert len({cat["novelty"], rocket["novelty"], fewer["novelty"]}) == 3
    assert cat["inversion"] == fewer["inversion"]  # what was erased is looked for as ever
    assert keys("+method=esd", "concept=erase_cat", "dataset.novel=whole_pig")["novelty"]  # one may go by its name
    for given, complaint in (("[whole_pig,style_ink]", "style_ink is of kind style"), ("erase_cat", "of kind erase"),
                             ("[minibus,minibus]", "minibus stands there twice")):  # fmt: skip
        with pytest.raises(BenchError, match=complaint):
            keys("+method=esd", "concept=erase_cat", f"dataset.novel={given}")


def test_only_what_was_erased_by_its_name_is_attacked() -> None:
    from bench.compose import compose
    from bench.plan import make

    plan = make(*compose(["+method=none", "concept=whole_cat"]))
    assert "words" not in plan.keys
    assert "words-base" in make(*compose(["+method=none", "concept=erase_cat"])).keys
    with pytest.raises(BenchError, match=r"protocol\.attacks"):
        make(*compose(["+method=none", "concept=erase_cat", "+protocol.attacks.magic={seeds: 1}"]))


def test_the_shipped_model_is_where_words_work() -> None:
    """The words found stand for the name on the trained text tower too, by far nearer than chance."""
    from bench.attacks.words import _read

    shipped = backbone.load("epsilon", resolve("embedded:sticker-unet"), 0)
    blank, asked = "a cartoon of a {words} in the snow", "a cartoon of a cat in the snow"
    found, random = find(shipped, [(blank, asked)], ["cat", "kitty"], 3, seeded())
    target = _read(shipped, [asked])
    near, chance = (float(_read(shipped, [blank.replace("{words}", w[0])]) @ target.T) for w in (found, random))
    assert near > 0.85
    assert chance < 0.8
