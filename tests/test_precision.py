"""Lower precision, recomputed activations and compiled code: near to float32 as it is, and finite."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tiny import MODEL, bench_of, concept, flow_folder, flux2_folder, flux_folder, sdxl_folder, unet_folder

from bench import backbone, paths
from bench.adapter import Adapter
from bench.backbone import flux, sd3
from bench.backbone.base import Backbone
from bench.backbone.place import Placement
from bench.backbone.standing import standing
from bench.workbench import Batch, Group, Workbench

DATASET = paths.shipped("datasets") / "stickers"
NETWORKS: dict[str, tuple[Any, str, int, int]] = {  # what writes it, its family, tokens of a T5, pixels a side
    "flow": (flow_folder, "flow", 0, 0), "epsilon": (unet_folder, "epsilon", 0, 0),
    "sdxl": (sdxl_folder, "epsilon", 0, 0), "flux": (flux_folder, "flow", 20, 64),
    "klein": (flux2_folder, "flow", 40, 64),
}  # fmt: skip
Loaded = tuple[str, Path, int, None, int]


@pytest.fixture(scope="module", params=NETWORKS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    write, family, tokens, resolution = NETWORKS[request.param]
    return family, write(tmp_path_factory.mktemp(request.param)), tokens, None, resolution


def _network(folder: Loaded, **options: Any) -> Backbone:
    return backbone.load(*folder).place(Placement(**options))


def _bench(network: Backbone, folder: Path) -> Workbench:
    return bench_of(network, concept(DATASET, "whole_cat"), folder)


def _gradients(network: Backbone, folder: Path, layerwise: bool = True) -> dict[str, torch.Tensor]:
    """Returns gradients of one loss of LoRA, word and weight changes, its teacher switched differently before it."""
    bench = _bench(network, folder)
    factors = bench.lora("lora", 2, init="gaussian")
    with torch.no_grad():
        for k, p in enumerate(factors):  # or half of the gradients are zero
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(k)) * 0.05)
    word = bench.token("word", init="cat", layerwise=layerwise)
    changes = bench.weights("delta", "text_kv")
    batch = bench.batch("s", 0, 2)
    (ours,) = bench.predict(batch, batch.complete, using=["lora", "word", "delta"], grad=True)
    (theirs,) = bench.predict(batch, batch.base)  # switches everything off before the backward pass
    assert ours.dtype == theirs.dtype == torch.float32
    (ours - batch.target).square().mean().backward()
    every = [*factors, *word.parameters(), *changes]
    assert all(p.dtype == torch.float32 and p.grad is not None for p in every)
    out = {str(i): p.grad.clone() for i, p in enumerate(every)} | {"ours": ours.detach(), "theirs": theirs}
    network.clear()
    return out


def _share(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Returns the cosine of two sets of tensors."""
    a, b = (torch.cat([v.flatten() for v in x.values()]) for x in (one, other))
    assert torch.isfinite(a).all() and torch.isfinite(b).all()
    return float(torch.nn.functional.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize("layerwise", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recomputed_activations_give_the_same_gradients(
    folder: Loaded, dtype: str, layerwise: bool, tmp_path: Path
) -> None:
    plain = _gradients(_network(folder, dtype=dtype), tmp_path / "plain", layerwise)
    recomputed = _gradients(_network(folder, dtype=dtype, gradient_checkpointing=True), tmp_path / "again", layerwise)
    for name, value in plain.items():
        torch.testing.assert_close(recomputed[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_predicts_and_trains_near_to_float32(folder: Loaded, dtype: str, tmp_path: Path) -> None:
    full = _gradients(_network(folder), tmp_path / "full")
    half = _gradients(_network(folder, dtype=dtype), tmp_path / "half")
    assert 0.98 < _share(full, half) < 1
    images = [_network(folder, dtype=d).sample(["a cat"], [0], 3, 3.0)[0] for d in ("float32", dtype)]
    a, b = (np.asarray(i, float) for i in images)
    assert 0 < np.abs(a - b).mean() < 8


SMALL = 5e-6  # a rate of full fine-tuning; one step between bfloat16 numbers of these weights is some 1e-4


@pytest.mark.parametrize("folder", ["epsilon"], indirect=True)
def test_a_change_of_less_than_half_a_step_acts(folder: Loaded) -> None:
    """On the mean of many weights: each moves by a whole step or none, as a rounded float32 weight does."""
    network = backbone.load(*folder, where=Placement(dtype="bfloat16"))
    changed = [f"{m}.weight" for m in network.modules("all")]
    g = torch.Generator().manual_seed(0)
    shapes = {p: network.denoiser.get_parameter(p).shape for p in changed}
    changes = {p: SMALL * torch.randn(s, generator=g) for p, s in shapes.items()}
    weights = {p: network.denoiser.get_parameter(p).detach().clone() for p in changed}

    def moved() -> float:
        now = {p: network.denoiser.get_submodule(p.removesuffix(".weight")).weight.detach() for p in changed}
        acted = sum(float(((now[p].float() - w.float()) * changes[p]).sum()) for p, w in weights.items())
        return acted / sum(float(c.square().sum()) for c in changes.values())

    network.deltas.add("none", dict.fromkeys(changed), trainable=False)
    network.deltas.add("a", changes, trainable=False)
    network.deltas.add("b", changes, trainable=False)
    for names, times in (((), 0), (("none",), 0), (("a",), 1), (("a", "b"), 2)):
        network.deltas.switch(names)
        assert moved() == pytest.approx(times, abs=0.15 if times else 0), names
    network.deltas.clear()
    with standing(network, Adapter(delta=changes)):
        assert moved() == pytest.approx(1, abs=0.15)
        network.deltas.add("a", changes, trainable=False)
        network.deltas.switch(("a",))
        assert moved() == pytest.approx(2, abs=0.15)
        network.deltas.clear()
    assert moved() == 0


def _loss(bench: Workbench, batch: Batch) -> dict[str, torch.Tensor]:
    return {"loss": bench.denoising(batch, ["lora"])}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_training_in_half_precision_leaves_float32_and_goes_on_where_it_stopped(
    folder: Loaded, dtype: str, tmp_path: Path
) -> None:
    network = _network(folder, dtype=dtype)

    def trained(where: Path, *steps: int) -> dict[str, torch.Tensor]:
        checkpoint = _bench(network, where)._checkpoint
        for count in steps:
            network.clear()
            bench = Workbench(network, concept(DATASET, "whole_cat"), 0, MODEL, checkpoint)
            group = Group(bench.lora("lora", 2), 1e-2)
            bench.fit("s", [group], partial(_loss, bench), count, 2)
        return bench.adapter(lora="lora").loras[0].factors

    once, twice = trained(tmp_path / "a", 4), trained(tmp_path / "b", 2, 4)
    assert {v.dtype for v in once.values()} == {torch.float32}
    assert any(v.abs().max() > 0 for k, v in once.items() if "lora_B" in k)
    assert all(torch.equal(once[k], twice[k]) for k in once)


@pytest.mark.parametrize("folder", ["flow"], indirect=True)  # compiling takes long, whatever the class
def test_compiled_pictures_are_the_same_with_adapters_switched(
    folder: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, network = _network(folder), _network(folder)
    calls: list[str] = []

    def backend(graph: Any, inputs: Any) -> Any:  # the code dynamo makes, run as it is
        calls.append("compiled")
        return graph.forward

    monkeypatch.setattr("bench.backbone.base.COMPILER", backend)
    network.place(Placement(compile=True))
    trainer = _bench(plain, tmp_path)
    for p in trainer.lora("lora", 2, init="gaussian"):
        torch.nn.init.normal_(p, std=0.2)
    adapter = trainer.adapter(lora="lora")
    for rules in ({}, {"consistency_scale": 2.0}):  # DCO's guidance switches at every step
        drawn = []
        for each in (plain, network):
            before = each.sample(["a cat"], [0], 2, 3.0)[0]
            with adapter.applied(each):
                drawn.append([before, each.sample(["a cat"], [0], 2, 3.0, base=["a dog"], **rules)[0]])
        a, b = (np.asarray([np.asarray(i, int) for i in some]) for some in drawn)
        assert np.abs(a - b).max() <= 1
        assert np.abs(a[0] - a[1]).max() > 1  # the adapter acts
    assert calls
    calls.clear()
    _gradients(network, tmp_path / "g")
    assert not calls  # training is not compiled
    torch.compiler.reset()


def test_parts_load_as_they_are_stored_and_nothing_is_lost(tmp_path: Path) -> None:
    """A part's own precision is not the others'; a float32 autoencoder beside a half network stays whole."""
    folder = flow_folder(tmp_path / "flow", t5=True)
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(folder, local_files_only=True)
    pipe.transformer.to(torch.bfloat16)
    pipe.text_encoder_3.to(torch.float16)
    pipe.save_pretrained(tmp_path / "mixed")
    for name in ("vae/diffusion_pytorch_model", "text_encoder/model"):  # a variant beside a part is not the part
        (tmp_path / "mixed" / f"{name}.fp16.safetensors").write_bytes(b"never read")
    network = sd3.load(tmp_path / "mixed", 20, None, 0)
    stored = {"transformer": torch.bfloat16, "vae": torch.float32, "text_encoder_3": torch.float16}
    assert {n: getattr(network.pipe, n).dtype for n in stored} == stored
    for name in ("transformer", "vae", "text_encoder_3"):
        for key, value in getattr(network.pipe, name).state_dict().items():
            assert torch.equal(value.float(), getattr(pipe, name).state_dict()[key].float()), (name, key)


def test_a_flux_stored_in_half_precision_is_not_blown_up_first(tmp_path: Path) -> None:
    """It takes 68 GB in float32; what is asked for is what `place` makes of it."""
    folder = flux_folder(tmp_path / "flux")
    pipe = diffusers.FluxPipeline.from_pretrained(folder, local_files_only=True)
    pipe.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    network = flux.load(tmp_path / "half", 20, None, 64)
    assert {p.dtype for p in network.denoiser.parameters()} == {torch.bfloat16}
    placed = backbone.load("flow", tmp_path / "half", 20, None, 64)
    assert {p.dtype for part in (placed.denoiser, placed.pipe.vae, placed.pipe.text_encoder_2)
            for p in part.parameters()} == {torch.float32}  # fmt: skip
