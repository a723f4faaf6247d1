"""Every method against its equations, and through a few real steps on a small U-Net of the true class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.adapter import Adapter, Lora, merge
from bench.backbone.base import Backbone
from bench.backbone.gate import Gate
from bench.checkpoint import Checkpoint
from bench.concept import Concept
from bench.errors import BenchError, Diverged
from bench.workbench import Workbench
from methods.classdiffusion import ClassDiffusion, feature_at
from methods.concept_ablation import ConceptAblation
from methods.custom_diffusion import CustomDiffusion
from methods.dco import DCO, dco_loss
from methods.dpg import DPG, Critic
from methods.dreambooth import DreamBooth
from methods.dreambooth_lora import DreamBoothLora
from methods.esd import ESD
from methods.purecc import PureCC
from methods.spm import SPM, anchor_weights, random_directions
from methods.textual_inversion import TextualInversion
from methods.uce import UCE, edited
from tests import tiny

SUBJECT = {
    "purecc": PureCC(extractor_steps=2, steps=2),
    "dreambooth": DreamBooth(steps=2, prior_images=2, lr=1e-3),
    "dreambooth_lora": DreamBoothLora(steps=2, prior_images=2, lr=1e-2),
    "textual_inversion": TextualInversion(steps=2, lr=1e-1),
    "custom_diffusion": CustomDiffusion(steps=2, prior_images=2, lr=1e-2),
    "classdiffusion": ClassDiffusion(steps=2, lr=1e-2),
    "classdiffusion_release": ClassDiffusion(steps=2, lr=1e-2, feature="released"),
    "dco": DCO(steps=2, rank=2, lr=1e-2, token_lr=1e-2),
    "dpg": DPG(steps=2, lr=1e-3, prior_images=2),
    "dpg_mean": DPG(steps=2, lr=1e-3, prior_images=2, critic="mean"),
    "dpg_bellman": DPG(steps=2, lr=1e-3, prior_images=2, critic="bellman"),
}
ERASE = {
    "esd": ESD(steps=2, lr=1e-2, denoise_steps=3),
    "esd_u": ESD(steps=2, lr=1e-3, denoise_steps=3, weights="not_text_attention"),
    "concept_ablation": ConceptAblation(steps=2, lr=1e-2, anchor_images=4),
    "uce": UCE(),
    "spm": SPM(steps=2, lr=1e-1, denoise_steps=3),
    "spm_release": SPM(steps=2, lr=1e-1, denoise_steps=3, anchor_mode="official", combine="official"),
}
ASKED, BASE = ["a cartoon of a <new1> cat at night"], ["a cartoon of a cat at night"]


@pytest.fixture(scope="module")
def unet(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return tiny.load_unet(tiny.unet_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def make(unet: Backbone, dataset: Path, tmp_path: Path) -> Callable[..., tuple[Workbench, Concept]]:
    def build(name: str = "whole_cat", seed: int = 0) -> tuple[Workbench, Concept]:
        of = tiny.concept(dataset, name)
        return tiny.bench_of(unet, of, tmp_path / str(seed), seed), of

    return build


def picture(network: Backbone, asked: list[str] = ASKED, **rules: Any) -> np.ndarray[Any, Any]:
    return np.asarray(network.sample(asked, [3], 3, 3.0, base=BASE, **rules)[0], int)


@pytest.mark.parametrize("name", [*SUBJECT, *ERASE])
def test_trains_saves_loads_and_leaves_the_model_alone(name: str, unet: Backbone, make: Any, tmp_path: Path) -> None:
    method, of = (SUBJECT | ERASE)[name], "whole_cat" if name in SUBJECT else "erase_cat"
    asked = ASKED if name in SUBJECT else BASE
    unet.clear()
    before, plain = _weights(unet), picture(unet, BASE)
    adapter = method.train(*make(of))
    after = _weights(unet)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[n], after[n]) for n in before)
    adapter.save(tmp_path / "a")
    loaded = Adapter.load(tmp_path / "a")
    with loaded.applied(unet):
        changed = picture(unet, asked, consistency_scale=loaded.consistency_scale, gate="open")
    assert (picture(unet, BASE) == plain).all()
    assert (changed != picture(unet, asked)).any()  # it learned something, of however little sense
    again = method.train(*make(of, seed=0))
    for a, b in zip(_tensors(adapter), _tensors(again), strict=True):
        assert torch.equal(a, b)
    if name != "uce":
        other = method.train(*make(of, seed=1))
        assert any(not torch.equal(a, b) for a, b in zip(_tensors(adapter), _tensors(other), strict=True))


def _weights(network: Backbone) -> dict[str, Tensor]:
    return {n.replace(".base_layer", ""): p.detach().clone() for n, p in network.denoiser.named_parameters()}


def _tensors(adapter: Adapter) -> list[Tensor]:
    loras = [v for x in adapter.loras for _, v in sorted(x.factors.items())]
    words = [v for t in adapter.tokens for _, v in sorted(t["state"].items())]
    return loras + words + [v for _, v in sorted(adapter.delta.items())]


def test_untrained_adapters_change_nothing(unet: Backbone, make: Any) -> None:
    workbench, _ = make()
    plain = picture(unet, BASE)
    workbench.lora("x", 4)
    workbench.weights("w", "text_kv", still_first=True)
    with unet.using(["x", "w"]):
        assert (picture(unet, BASE) == plain).all()


# --- DCO ---------------------------------------------------------------------------------------


def test_dco_weighs_the_gradient_by_beta_sigma() -> None:
    error, reference = torch.tensor([0.31, 0.29], requires_grad=True), torch.tensor([0.30, 0.30])
    dco_loss(error, reference, 100.0).backward()
    d = error.detach() - reference
    torch.testing.assert_close(error.grad, 100.0 * torch.sigmoid(100.0 * d) / 2)


def test_dco_keeps_the_length_of_its_word(make: Any) -> None:
    workbench, of = make()
    start = [r.norm() for r in workbench.backbone.new_token("<new1>", "cat", False).rows]
    adapter = DCO(steps=3, rank=2, lr=1e-2, token_lr=1e-1).train(workbench, of)
    rows = [v for k, v in sorted(adapter.tokens[0]["state"].items())]
    first = workbench.backbone.new_token("<new1>", "cat", False).rows
    for row, norm, init in zip(rows, start, first, strict=True):
        torch.testing.assert_close(row.norm(), norm)
        assert not torch.allclose(row, init)  # it did train


def test_consistency_guidance_is_the_sum_of_three_branches(unet: Backbone) -> None:
    from bench.backbone.sample import Guided, consistency

    unet.clear()
    with torch.no_grad():
        for p in unet.add_lora("x", 2, unet.modules("attention"), init="gaussian"):
            p.add_(0.1)
    x, t = torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5])

    def at(prompt: str, names: list[str]) -> Tensor:
        with unet.using(names), torch.no_grad():
            return unet.predict(x, t, unet.encode_prompts([prompt]))

    with unet.using(["x"]), torch.no_grad():
        ours = Guided(unet, consistency(7.5, 3.0), ["a cat at night"], ["a cat"])(x, t)
    empty, base, asked = at("", []), at("a cat", []), at("a cat at night", ["x"])
    torch.testing.assert_close(ours, empty + 7.5 * (base - empty) + 3.0 * (asked - base), atol=1e-4, rtol=1e-4)
    unet.clear()


# --- ClassDiffusion and Custom Diffusion -------------------------------------------------------


@pytest.mark.parametrize("feature", ["eos", "released"])
def test_the_semantic_loss_trains_the_word_and_nothing_else(feature: Any, unet: Backbone, make: Any) -> None:
    workbench, of = make()
    word = workbench.token("word", init="dog")
    weights = workbench.weights("keys-values", "text_kv", still_first=True)
    ClassDiffusion(feature=feature).spl(workbench, of).backward()
    assert all(float(row.grad.abs().sum()) > 0 for row in word.rows)
    assert all(w.grad is None for w in weights)
    assert all(p.grad is None for p in unet.pipe.text_encoder.parameters())


def test_the_semantic_loss_is_nothing_for_a_word_that_is_its_class(make: Any) -> None:
    workbench, of = make()
    doubled = of.model_copy(update={"token": "cat", "class_phrase": "cat"})  # both phrases are the same then
    workbench.token("word", init="cat")
    assert float(ClassDiffusion().spl(workbench, doubled).detach()) == pytest.approx(0, abs=1e-5)
    assert float(ClassDiffusion().spl(workbench, of).detach()) > 1e-4


def test_features_are_read_at_the_first_end_of_text() -> None:
    states = torch.arange(12.0).reshape(1, 6, 2)
    assert feature_at(torch.tensor([[1, 5, 9, 9, 9, 9]]), states, 9).tolist() == [[4.0, 5.0]]


def test_no_gradient_passes_the_first_position(unet: Backbone, make: Any) -> None:
    workbench, _ = make()
    weights = workbench.weights("kv", "text_kv", still_first=True)
    layer = unet.denoiser.get_submodule(unet.modules("text_kv")[0])
    with unet.using(["kv"]):
        states = torch.randn(1, 5, 128)
        layer(states)[:, 0].sum().backward() if layer(states)[:, 0].requires_grad else None
        assert weights[0].grad is None or float(weights[0].grad.abs().sum()) == 0
        layer(states)[:, 1:].sum().backward()
    assert float(weights[0].grad.abs().sum()) > 0


@pytest.mark.parametrize("method", ["custom_diffusion", "classdiffusion", "concept_ablation"])
def test_keys_and_values_train_with_the_start_of_the_text_held(
    method: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same in every prompt: trained through, it would move what no prompt names."""
    asked: dict[str, bool] = {}
    whole = Workbench.weights

    def weights(self: Workbench, name: str, kind: str, still_first: bool = False) -> list[torch.nn.Parameter]:
        asked[kind] = still_first
        return whole(self, name, kind, still_first)

    monkeypatch.setattr(Workbench, "weights", weights)
    of = "erase_cat" if method in ERASE else "whole_cat"
    (SUBJECT | ERASE)[method].train(*make(of))
    assert asked == {"text_kv": True}


def test_what_is_erased_again_is_no_word_to_keep_and_its_class_is(make: Any) -> None:
    workbench, of = make()
    assert of.class_phrase == "cat"
    for surrogate, kept in (("dog", False), ("cat", True)):  # erasing a cat, and giving it back after learning one
        workbench.concept = of.model_copy(update={"surrogate": surrogate})
        assert ("cat" in workbench.vocabulary()) == kept
        assert "dog" in workbench.vocabulary()


def test_the_prior_weighs_as_said(make: Any) -> None:
    for weight in (0.0, 0.25, 1.0):
        workbench, of = make()
        log = CustomDiffusion(steps=1, prior_images=2, prior_weight=weight).train(workbench, of).log
        total, instance, prior = (log[f"custom-diffusion/{k}"][0] for k in ("loss", "instance", "prior"))
        assert total == pytest.approx(instance + weight * prior, abs=2e-6)
        assert prior > 0


def interrupted(method: Any, workbench: Workbench, of: Concept, checkpoint: Checkpoint) -> None:
    """Trains until step 2, and no further."""
    step = workbench.batch

    def stop(stage: str, k: int, size: int) -> Any:
        if k == 2:
            raise KeyboardInterrupt
        return step(stage, k, size)

    workbench._checkpoint = checkpoint
    workbench.batch = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        method.train(workbench, of)


def test_the_priors_pictures_are_counted_once_however_often_it_is_interrupted(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are asked for again where training goes on, which is not what the training costs."""
    monkeypatch.setattr("bench.checkpoint.Checkpoint.due", lambda self: True)
    method, checkpoint = CustomDiffusion(steps=3, prior_images=2), Checkpoint(tmp_path / "kept")
    whole = method.train(*make())
    interrupted(method, *make(), checkpoint)
    again, of = make()
    again._checkpoint = checkpoint
    resumed = method.train(again, of)
    spent = ("forward_images", "grad_forward_images", "steps", "parameters")
    assert {k: resumed.cost[k] for k in spent} == {k: whole.cost[k] for k in spent}
    assert set(resumed.cost) == set(whole.cost) and not any(name.startswith("counted") for name in whole.cost)


@pytest.mark.parametrize("left", [b"", b"PK", 400])
def test_a_damaged_checkpoint_is_said_and_not_gone_on_from(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, left: bytes | int
) -> None:
    monkeypatch.setattr("bench.checkpoint.Checkpoint.due", lambda self: True)
    method, checkpoint = CustomDiffusion(steps=3, prior_images=2), Checkpoint(tmp_path / "kept")
    whole = method.train(*make())
    interrupted(method, *make(), checkpoint)
    (kept,) = (tmp_path / "kept").glob("*.ckpt")
    kept.write_bytes(left if isinstance(left, bytes) else kept.read_bytes()[:left])
    again, of = make()
    again._checkpoint = checkpoint
    resumed = method.train(again, of)
    assert f"{kept}: not a whole checkpoint" in caplog.text
    assert resumed.log == whole.log
    assert resumed.cost["steps"] == whole.cost["steps"]


def test_trainings_one_after_the_other_need_the_memory_of_one() -> None:
    parts = [Adapter(cost={"peak_memory_mib": peak, "steps": 5.0}) for peak in (100.0, 120.0)]
    assert merge(parts, [1, 1]).cost == {"peak_memory_mib": 120.0, "steps": 10.0}


# --- erasers -----------------------------------------------------------------------------------


def test_esd_aims_away_from_the_concept() -> None:
    named, empty = torch.tensor([2.0]), torch.tensor([0.5])
    assert float(ESD(eta=1.0).target(named, empty)) == pytest.approx(0.5 - 1.5)
    assert float(ESD(eta=0.0).target(named, empty)) == 0.5


def test_spm_aims_beyond_the_surrogate() -> None:
    assert float(SPM(eta=2.0).target(torch.tensor(3.0), torch.tensor(1.0))) == 1.0 - 2.0 * 2.0


def test_anchors_are_drawn_by_their_distance() -> None:
    target = torch.tensor([1.0, 0.0])
    anchors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 1.0]])
    weights = anchor_weights(anchors, target, alpha=1.0)
    expected = torch.tensor([0.0, 1.0, 0.0, 1 - 0.5**0.5])
    torch.testing.assert_close(weights, expected / expected.sum())
    assert anchor_weights(anchors, target, alpha=0.0).tolist() == [0.25] * 4


def test_random_directions_have_the_targets_length() -> None:
    target = torch.randn(24, 128, generator=torch.Generator().manual_seed(0))
    drawn = random_directions(target, 50, torch.Generator().manual_seed(1))
    ratio = drawn.flatten(1).norm(dim=1) / target.norm()
    assert float(ratio.min()) >= 0.8
    assert float(ratio.max()) <= 1.2
    cosine = torch.nn.functional.cosine_similarity(drawn.flatten(1), target.flatten()[None])
    assert float(cosine.abs().max()) < 0.1


def test_uce_with_an_unchanged_target_changes_nothing() -> None:
    g = torch.Generator().manual_seed(0)
    w, c, k = (torch.randn(n, 12, generator=g) for n in (7, 2, 5))
    torch.testing.assert_close(edited(w, c, c, k, (0.5, 1.0, 1.0)), w)
    moved = edited(w, c[:1], c[1:], k[:0], (1e-4, 1.0, 0.0))
    torch.testing.assert_close(moved @ c[0], w @ c[1], atol=1e-2, rtol=1e-2)  # c now reads as c*
    torch.testing.assert_close(edited(w, c[:1], c[1:], c[1:], (1e-4, 1.0, 1e4)) @ c[1], w @ c[1], atol=1e-2, rtol=1e-2)


# --- gates -------------------------------------------------------------------------------------


def _membrane(network: Backbone, seed: int) -> dict[str, Tensor]:
    network.clear()
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in network.add_lora("m", 1, network.modules("transformer"), init="gaussian"):
            p.copy_(0.3 * torch.randn_like(p))
    state = network.lora_state("m")
    network.clear()
    return state


@pytest.mark.parametrize(("combine", "power"), [("paper", 1), ("official", 2)])
def test_one_gated_membrane_scales_as_its_rule_says(combine: Any, power: int, unet: Backbone) -> None:
    factors, layer = _membrane(unet, 0), unet.modules("transformer")[3]
    gate, gamma = Gate(("cat",), combine), torch.tensor([0.0, 0.5, 1.0])
    adapter = Adapter([Lora(factors, gate=gate)])
    x = torch.randn(1, 4, unet.denoiser.get_submodule(layer).in_features).expand(3, -1, -1)
    plain = unet.denoiser.get_submodule(layer)(x)
    with adapter.applied(unet), torch.no_grad():
        module = unet.denoiser.get_submodule(layer)
        whole = module(x)
        unet.gating.values["applied-lora-0"] = gamma
        gated = module(x)
        unet.gating.values.clear()
    change = (gated - plain).flatten(1).norm(dim=1) / (whole - plain).flatten(1).norm(dim=1)
    torch.testing.assert_close(change, gamma**power, atol=1e-4, rtol=1e-4)


def test_two_membranes_add_up_on_paper_and_cross_in_the_released_code(unet: Backbone) -> None:
    states, name = [_membrane(unet, k) for k in (0, 1)], unet.modules("transformer")[3]
    x = torch.randn(1, 4, unet.denoiser.get_submodule(name).in_features)
    downs = [s[f"{name}.lora_A.weight"] for s in states]
    ups = [s[f"{name}.lora_B.weight"] for s in states]
    gammas = (0.3, 0.8)
    expected = {
        "paper": sum(g * u @ d for g, u, d in zip(gammas, ups, downs, strict=True)),
        "official": sum(g * u for g, u in zip(gammas, ups, strict=True))
        @ sum(g * d for g, d in zip(gammas, downs, strict=True)),
    }
    plain = unet.denoiser.get_submodule(name)(x)
    for combine, matrix in expected.items():
        both = merge([Adapter([Lora(s, gate=Gate((w,), combine))]) for s, w in zip(states, "ab", strict=True)], [1, 1])
        with both.applied(unet), torch.no_grad():
            for k, gamma in enumerate(gammas):
                unet.gating.values[f"applied-lora-{k}"] = torch.tensor([gamma])
            torch.testing.assert_close(unet.denoiser.get_submodule(name)(x) - plain, x @ matrix.T, atol=1e-4, rtol=1e-4)
            unet.gating.values.clear()


def test_a_closed_gate_is_the_untouched_model_bit_for_bit(unet: Backbone) -> None:
    factors = _membrane(unet, 0)
    plain = picture(unet, BASE)
    with Adapter([Lora(factors, gate=Gate(("cat",)))]).applied(unet):
        assert (picture(unet, BASE, gate="closed") == plain).all()
        opened, half, auto = (picture(unet, BASE, gate=g) for g in ("open", 0.5, "auto"))
    assert (opened != plain).any()
    assert (half != opened).any()
    assert (auto == opened).all()  # the prompt names a cat: the token rule alone opens it


def test_the_gate_is_each_prompts_own_in_a_batch(unet: Backbone) -> None:
    factors = _membrane(unet, 0)
    prompts = ["a cat at night", "a pizza on the beach"]
    with Adapter([Lora(factors, gate=Gate(("cat",)))]).applied(unet):
        together = [np.asarray(i, int) for i in unet.sample(prompts, [1, 2], 3, 3.0)]
        alone = [np.asarray(unet.sample([p], [s], 3, 3.0)[0], int) for p, s in zip(prompts, (1, 2), strict=True)]
        from bench.backbone.gate import strength

        gamma = strength(unet, unet.gating.gates["applied-lora-0"], prompts)
    assert all(abs(a - b).max() <= 2 for a, b in zip(together, alone, strict=True))
    assert float(gamma[0]) == pytest.approx(1.0)
    assert float(gamma[1]) < 0.95


# --- DreamBooth on LoRA ------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["gaussian", "peft"])
def test_published_rates_of_lora_are_of_factors_as_diffusers_has_them(make: Any, init: Any) -> None:
    workbench, of = make()
    state = DreamBoothLora(steps=1, rank=8, lr=1e-12, init=init).train(workbench, of).loras[0].factors
    wide = [float(v.std() * 8) for k, v in state.items() if "lora_A" in k]
    narrow = [float(v.std() * (3 * v.shape[1]) ** 0.5) for k, v in state.items() if "lora_A" in k]
    assert float(np.mean(wide if init == "gaussian" else narrow)) == pytest.approx(1, rel=0.1)
    assert float(np.mean(narrow if init == "gaussian" else wide)) != pytest.approx(1, rel=0.1)


# --- DPG ---------------------------------------------------------------------------------------


def test_the_discount_is_gamma_to_the_step(make: Any) -> None:
    workbench, of = make()
    method = DPG(critic="mean", prior_images=0, instance_weight=0.0, gamma=0.99)
    workbench.weights("policy", "text_kv")
    method._reward, method._seen = None, None
    batch = workbench.batch("x", 0, 1)
    (v,) = workbench.predict(batch, batch.complete, using=["policy"])
    cost = (workbench.backbone.clean(batch.x_t, v, batch.t) - batch.x_0).square().mean()
    found = method.loss(workbench, of, batch)
    torch.testing.assert_close(found["cost"].detach(), 0.99 ** (1000 * batch.t[0]) * cost)
    torch.testing.assert_close(found["loss"].detach(), found["cost"].detach())


def test_the_papers_critic_is_regressed_on_the_cost_and_what_is_ahead(make: Any) -> None:
    """Q(x_t, ·) = L(x_t, ·) + γ Q(x_{t−1}, ·), x_{t−1} by diffusers' DDIM, the last state without a next."""
    from diffusers import DDIMScheduler

    workbench, of = make()
    backbone, method = workbench.backbone, DPG(critic="bellman", prior_images=0, gamma=0.9)
    with torch.no_grad():  # another policy than the untouched model
        for change in workbench.weights("policy", "text_kv"):
            change.copy_(0.1 * torch.randn(change.shape, generator=workbench.generator("policy", 0)))
    method._reward, method._silent = None, torch.zeros(())
    method._critic = Critic(*backbone.latent_shape[:2], workbench.generator("critic", 0))
    for step, index in ((0, 700), (1, 1), (2, 0)):
        batch = workbench.batch("x", step, 1)
        t = torch.tensor([index / 1000])
        batch.x_t, batch.target = backbone.add_noise(batch.x_0, torch.randn_like(batch.x_0), t)
        batch.t = t
        (now,) = workbench.predict(batch, batch.complete, using=["policy"])
        ddim = DDIMScheduler.from_config(backbone.pipe.scheduler.config, clip_sample=False, set_alpha_to_one=True)
        ddim.set_timesteps(1000)
        later = ddim.step(now, index, batch.x_t).prev_sample
        (then,) = workbench.predict(replace(batch, x_t=later, t=t - 0.001), batch.complete, using=["policy"])
        residuals = [
            (backbone.clean(x, v, s) - batch.x_0).square()
            for x, v, s in ((batch.x_t, now, t), (later, then, t - 0.001))
        ]
        said, _ = method.cost(workbench, of, batch, backbone.clean(batch.x_t, now, t))
        with torch.no_grad():
            q_now, q_then = map(method._critic, residuals)
        cost = residuals[0].mean((1, 2, 3)) + (0.9 * q_then if index else 0)
        torch.testing.assert_close(said.detach(), q_now)
        torch.testing.assert_close(method._seen[1], cost, rtol=1e-4, atol=1e-5)


def test_the_critic_learns_to_be_a_mean() -> None:
    g = torch.Generator().manual_seed(0)
    critic = Critic(8, 16, g)
    optimizer = torch.optim.SGD(critic.parameters(), lr=0.01)
    for _ in range(400):
        d = torch.rand(4, 8, 16, 16, generator=g) * 0.5 * torch.rand(4, 1, 1, 1, generator=g)
        error = (critic(d) - d.mean((1, 2, 3))).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    low, high = (float(critic(torch.full((1, 8, 16, 16), v)).detach()) for v in (0.1, 0.3))
    assert high - low == pytest.approx(0.2, abs=0.06)


@pytest.mark.parametrize(
    ("layer", "weights", "value", "says"),
    [(3, "bias", -1e6, r"has died.*critic_lr"), (5, "weight", float("nan"), "went past all numbers")],
)
def test_a_broken_critic_stops_the_run(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: int, weights: str, value: float, says: str
) -> None:
    from methods import dpg

    monkeypatch.setattr(dpg, "DEAD_AFTER", 3)
    original = Critic.__init__

    def broken(self: Critic, *args: Any) -> None:
        original(self, *args)
        with torch.no_grad():
            getattr(self.layers[layer], weights).fill_(value)

    monkeypatch.setattr(Critic, "__init__", broken)
    method, checkpoint = DPG(steps=20, prior_images=0, lr=1e-6), Checkpoint(tmp_path / "kept")
    with pytest.raises(Diverged, match=says):
        method.train(*make())
    if layer == 3:  # how long it has been silent is not forgotten where training is interrupted
        monkeypatch.setattr("bench.checkpoint.Checkpoint.due", lambda self: True)
        interrupted(method, *make(), checkpoint)
        again, of = make()
        again._checkpoint = checkpoint
        with pytest.raises(Diverged, match=says):
            method.train(again, of)
        assert torch.load(tmp_path / "kept/policy.ckpt", weights_only=True)["step"] == 3  # it died in the next


def reward_blue(images: Tensor, captions: list[str], concept: Concept) -> Tensor:
    """A user's own reward, which no gradient passes: how blue the picture is."""
    return torch.tensor(images.numpy()[:, 2].mean((1, 2)))


def test_any_function_can_be_the_reward(make: Any) -> None:
    log = DPG(steps=2, prior_images=0, reward="tests.test_methods.reward_blue").train(*make()).log
    assert len(log["policy/cost"]) == 2
    with pytest.raises(BenchError, match=r"method\.reward"):
        DPG(steps=2, reward="tests.test_methods.nothing_here").train(*make())


# --- merging -----------------------------------------------------------------------------------


def test_merging_adds_the_weighted_loras(unet: Backbone) -> None:
    states, name = [_membrane(unet, k) for k in (0, 1)], unet.modules("transformer")[3]
    x = torch.randn(1, 4, unet.denoiser.get_submodule(name).in_features)
    plain = unet.denoiser.get_submodule(name)(x)
    matrix = sum(
        w * s[f"{name}.lora_B.weight"] @ s[f"{name}.lora_A.weight"] for w, s in zip((1.0, 0.5), states, strict=True)
    )
    with merge([Adapter([Lora(s)]) for s in states], [1.0, 0.5]).applied(unet), torch.no_grad():
        torch.testing.assert_close(unet.denoiser.get_submodule(name)(x) - plain, x @ matrix.T, atol=1e-4, rtol=1e-4)


def test_merging_refuses_one_word_twice() -> None:
    word = {"text": "<new1>", "init": "cat", "state": {"row_0": torch.zeros(3)}}
    with pytest.raises(BenchError, match="each needs its own token"):
        merge([Adapter(tokens=[word]), Adapter(tokens=[word])], [1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(merge([Adapter(tokens=[word]), Adapter(tokens=[word | {"text": "<new2>"}])], [1, 1]).tokens) == 2


# --- the page ----------------------------------------------------------------------------------


def test_the_methods_page_is_written_from_the_code(root: Path) -> None:
    from tools.methods_page import page

    assert (root / "methods" / "README.md").read_text(encoding="utf-8") == page()


def test_no_method_imports_another_and_none_is_long(root: Path) -> None:
    for path in (root / "methods").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "from methods" not in text
        assert "import methods" not in text
        assert len(text.splitlines()) <= 200, path
