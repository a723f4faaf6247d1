"""Models by their hub name: found where `hf download` leaves them, never fetched, missing ones named in one line."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from bench import hub, paths
from bench.errors import BenchError
from bench.judges.build import build

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache of a machine without a network, empty."""
    for name in ("HF_HUB_CACHE", "CONCEPT_BENCH_MODELS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)

    def refuse(*args: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return tmp_path / "hf" / "hub"


def place(cache: Path, path: str, source: Path) -> Path:
    """Lays a folder out as the hub's snapshot of `hf:org/name@revision`."""
    name, _, revision = path.removeprefix("hf:").partition("@")
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = revision if hub.COMMIT.fullmatch(revision) else COMMIT
    snapshot = repository / "snapshots" / commit
    snapshot.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, snapshot)
    if commit == COMMIT:
        ref = repository / "refs" / (revision or "main")
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(COMMIT)
    return snapshot


def tiny_clip(folder: Path) -> Path:
    """A random `CLIPModel` folder, as preference models are published."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = paths.weights() / "sticker-flow" / "tokenizer"
    vocabulary = len(yaml.safe_load((words / "vocab.json").read_text()))
    text = small | {"vocab_size": vocabulary, "max_position_embeddings": 16, "bos_token_id": 1, "eos_token_id": 2}
    vision = small | {"image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    for path in words.iterdir():
        shutil.copy2(path, folder / path.name)
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 3}
    crop |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(crop))
    return folder


def tiny_csd(folder: Path) -> tuple[Path, Any]:
    """CSD's own layout of a random vision tower, and the tower with its projection."""
    import torch
    from open_clip.transformer import QuickGELU, VisionTransformer
    from safetensors.torch import save_file

    torch.manual_seed(0)
    tower = VisionTransformer(32, 8, 64, 2, 1, 4.0, output_dim=8, act_layer=QuickGELU).eval()
    state = {f"module.backbone.{k}": v for k, v in tower.state_dict().items() if k != "proj"}
    state |= {"module.last_layer_style": tower.proj.detach(), "module.last_layer_content": torch.zeros(64, 8)}
    folder.mkdir()
    save_file({k: v.clone() for k, v in state.items()}, folder / "model.safetensors")
    return folder, tower


def _specs(root: Path) -> list[tuple[str, dict[str, str]]]:
    """Every judge of every configuration that is named by the hub, or lies in models/."""
    found: dict[str, dict[str, str]] = {}
    for path in [*(root / "conf" / "encoders").glob("*.yaml"), *(root / "conf" / "protocol").glob("*.yaml")]:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        said = said.get("dataset", {}).get("encoders", {}) if path.parent.name == "protocol" else said
        specs = [s for s in said.values() if isinstance(s, dict) and s.get("path")]
        found |= {s["path"]: s for s in specs if not s["path"].startswith("embedded:")}
    return sorted(found.items())


def test_every_judge_loads_from_the_hubs_snapshots_without_a_network(root: Path, cache: Path, tmp_path: Path) -> None:
    folders = {k: paths.weights() / f"{n}-judge" for k, n in
               (("open_clip", "clip"), ("dino", "dino"), ("blip1", "blip1"), ("blip2", "blip2"))}  # fmt: skip
    folders |= {"clip": tiny_clip(tmp_path / "clip"), "csd": tiny_csd(tmp_path / "csd")[0]}
    specs = _specs(root)
    assert {s["kind"] for _, s in specs} == set(folders)
    for path, spec in specs:
        folder = folders[spec["kind"]]
        place(cache, path, folder) if path.startswith("hf:") else shutil.copytree(folder, tmp_path / path)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    local = hub.encoders({path: spec for path, spec in specs})
    seen: dict[str, Any] = {}
    for path, spec in local.items():
        if spec["kind"] in seen:
            build(spec)  # the same files by another name
            continue
        judge = build(spec)
        seen[spec["kind"]] = judge.pairs([image], ["a cat"]) if hasattr(judge, "pairs") else judge.images([image])
        assert np.isfinite(seen[spec["kind"]]).all(), path
    assert set(seen) == set(folders)


@pytest.mark.parametrize("kind", ["open_clip", "clip", "dino", "blip1", "blip2", "csd", "pipeline"])
def test_what_is_not_there_is_one_line_that_says_which_file_goes_where(cache: Path, kind: str) -> None:
    with pytest.raises(BenchError) as caught:
        hub.located("hf:org/name@v1", "dataset.encoders.x.path", kind)
    said = str(caught.value)
    assert said.startswith("dataset.encoders.x.path=hf:org/name@v1: ") and "\n" not in said
    assert "hf download org/name --revision v1" in said and "models/org/name" in said and ".safetensors" in said
    assert all(n.partition("|")[0] in said for n in hub.NEEDED.get(kind, ()))


@pytest.mark.parametrize("missing", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named_with_its_place(cache: Path, missing: str) -> None:
    snapshot = place(cache, "hf:org/dino", paths.weights() / "dino-judge")
    assert hub.located("hf:org/dino", "x", "dino") == str(snapshot)
    (snapshot / missing).unlink()
    with pytest.raises(BenchError) as caught:
        hub.located("hf:org/dino", "x", "dino")
    assert missing in str(caught.value) and str(snapshot) in str(caught.value) and "\n" not in str(caught.value)


def test_a_pickle_alone_says_how_it_becomes_safetensors(cache: Path, root: Path) -> None:
    import subprocess
    import sys

    import torch
    from safetensors.torch import load_file

    snapshot = place(cache, "hf:org/dino", paths.weights() / "dino-judge")
    state = load_file(snapshot / "model.safetensors")
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, snapshot / "pytorch_model.bin")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(BenchError, match=r"to_safetensors\.py .*pytorch_model\.bin"):
        hub.located("hf:org/dino", "x", "dino")
    tool = [sys.executable, str(root / "tools" / "to_safetensors.py"), str(snapshot / "pytorch_model.bin")]
    subprocess.run(tool, check=True, capture_output=True, timeout=120)
    assert hub.located("hf:org/dino", "x", "dino") == str(snapshot)
    again = load_file(snapshot / "model.safetensors")
    assert set(again) == set(state) and all((again[k] == v).all() for k, v in state.items())


def test_a_revision_is_a_commit_a_branch_or_a_pull_request(cache: Path) -> None:
    judge = paths.weights() / "dino-judge"
    main, pull = place(cache, "hf:org/dino", judge), cache / "models--org--dino" / "snapshots" / ("f" * 40)
    shutil.copytree(judge, pull)
    ref = cache / "models--org--dino" / "refs" / "refs" / "pr" / "1"
    ref.parent.mkdir(parents=True)
    ref.write_text("f" * 40)
    assert hub.located("hf:org/dino@main", "x", "dino") == str(main)
    assert hub.located("hf:org/dino@refs/pr/1", "x", "dino") == str(pull)
    assert hub.located(f"hf:org/dino@{'f' * 40}", "x", "dino") == str(pull)
    ref.write_text("../../snapshots")  # a reference names a commit and nothing else
    for revision in ("e" * 40, "refs/pr/1"):
        with pytest.raises(BenchError, match="not on this machine"):
            hub.located(f"hf:org/dino@{revision}", "x", "dino")


def test_a_folder_models_serves_as_well_and_the_variables_are_obeyed(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(paths.weights() / "dino-judge", tmp_path / "models" / "org" / "dino")
    assert Path(hub.located("hf:org/dino", "x", "dino")).resolve() == tmp_path / "models" / "org" / "dino"
    monkeypatch.setenv("CONCEPT_BENCH_MODELS", str(tmp_path / "elsewhere"))
    with pytest.raises(BenchError, match="elsewhere/org/dino"):
        hub.located("hf:org/dino", "x", "dino")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "own"))
    snapshot = place(tmp_path / "own", "hf:org/dino", paths.weights() / "dino-judge")
    assert hub.located("hf:org/dino", "x", "dino") == str(snapshot)


@pytest.mark.parametrize(
    "path", ["hf:name", "hf:org/name/more", "hf:../name", "hf:org/..", "hf:org/name@a/../../x", "hf:"]
)
def test_a_name_that_is_none_is_refused(cache: Path, path: str) -> None:
    with pytest.raises(BenchError, match="hf:ORGANISATION/NAME"):
        hub.located(path, "model.path", "pipeline")


def test_other_paths_stay_as_they_are(cache: Path, tmp_path: Path) -> None:
    assert hub.located("embedded:dino-judge", "x", "dino") == "embedded:dino-judge"
    assert hub.located(str(tmp_path), "x", "dino") == str(tmp_path)
    with pytest.raises(BenchError, match=r"no such folder; config\.json and preprocessor_config\.json"):
        hub.located(str(tmp_path / "nothing"), "x", "dino")


def test_a_model_of_the_hub_makes_a_plan_with_the_same_keys(cache: Path, tmp_path: Path) -> None:
    """A row must not know where on a machine its model lay."""
    from bench.compose import compose
    from bench.plan import make

    place(cache, "hf:org/flow@v1", paths.weights() / "sticker-flow")
    place(cache, "hf:org/dino", paths.weights() / "dino-judge")
    own = ["model.path=hf:org/flow@v1", "dataset.encoders.dino.path=hf:org/dino"]
    first = make(*compose(["+method=none", *own]))
    assert first.model_folder.is_relative_to(cache)
    assert first.keys["train"] == make(*compose(["+method=none"])).keys["train"]
    shutil.move(cache, tmp_path / "moved")
    with pytest.raises(BenchError, match=r"model\.path=hf:org/flow@v1: not on this machine"):
        make(*compose(["+method=none", *own]))
    (tmp_path / "hf").mkdir(exist_ok=True)
    shutil.move(tmp_path / "moved", cache)
    assert make(*compose(["+method=none", *own])).keys == first.keys


def test_csd_is_the_towers_projection_on_pixels_as_clip_reads_them(tmp_path: Path) -> None:
    import torch
    from torchvision import transforms

    folder, tower = tiny_csd(tmp_path / "csd")
    judge = build({"kind": "csd", "name": "CSD", "path": str(folder)})
    rng = np.random.default_rng(0)
    images = [Image.fromarray(rng.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((50, 40), (33, 97), (32, 32))]
    from bench.judges.csd import MEAN, STD

    clips = transforms.Compose([
        transforms.Resize(32, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(32), transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])  # fmt: skip
    with torch.no_grad():
        z = torch.nn.functional.normalize(tower(torch.stack([clips(i) for i in images])), dim=-1).numpy()
    np.testing.assert_allclose(judge.images(images), z, atol=1e-5)
    np.testing.assert_allclose(np.concatenate([judge.images([i]) for i in images]), z, atol=1e-5)


@pytest.mark.parametrize("change", ["nothing of it", "no style head", "another shape"])
def test_weights_that_are_not_csds_are_named(tmp_path: Path, change: str) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder, _ = tiny_csd(tmp_path / "csd")
    state = load_file(folder / "model.safetensors")
    if change == "nothing of it":
        state = {"x": torch.zeros(1)}
    elif change == "no style head":
        del state["module.last_layer_style"]
    else:
        state["module.backbone.ln_post.weight"] = torch.zeros(3)
    save_file(state, folder / "model.safetensors")
    judge = build({"kind": "csd", "name": "CSD", "path": str(folder)})
    with pytest.raises(BenchError, match="not CSD's weights") as caught:
        judge.images([Image.new("RGB", (32, 32))])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["model.path=hf:stabilityai/sd@v1"], ["model.path=hf:stabilityai/sd@v1", "hf download stabilityai/sd"]),
        ([], ["dataset.encoders.clip.path=hf:timm/", "open_clip_config.json", "hf download timm/"]),
    ],
)
def test_a_run_without_its_models_is_one_line_and_writes_nothing(
    root: Path, cache: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, given: list[str], says: list[str]
) -> None:
    from bench.__main__ import main

    photos = f"dataset.pictures={root / 'tests' / 'photos'}"
    args = ["+method=none", "dataset=dreambooth", photos, "protocol=dreambooth", "concept=dog3", "root=runs", *given]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1 and [s for s in says if s not in error] == []
    assert not (tmp_path / "runs").exists()


def _published(root: Path) -> dict[str, dict[str, Any]]:
    """Every model of conf/model that is named by the hub."""
    said = {p.stem: yaml.safe_load(p.read_text(encoding="utf-8")) for p in (root / "conf" / "model").glob("*.yaml")}
    return {name: config for name, config in said.items() if config["path"].startswith(hub.PREFIX)}


def _tiny(name: str, folder: Path) -> Path:
    """A random pipeline of the class that a model of conf/model is of."""
    from tests import tiny

    made = {"sd14": tiny.unet_folder, "sd15": tiny.unet_folder, "sd21": lambda f: tiny.unet_folder(f, "v_prediction"),
            "sdxl": tiny.sdxl_folder, "sd35-medium": lambda f: tiny.flow_folder(f, t5=True),
            "flux-dev": tiny.flux_folder, "flux2-klein-base-4b": tiny.flux2_folder,
            "flux2-klein-4b": lambda f: tiny.flux2_folder(f, is_distilled=True)}  # fmt: skip
    return made[name](folder)


@pytest.mark.parametrize(
    "name", ["sd14", "sd15", "sd21", "sdxl", "sd35-medium", "flux-dev", "flux2-klein-4b", "flux2-klein-base-4b"]
)
def test_every_model_loads_from_the_hubs_snapshot_without_a_network(
    root: Path, cache: Path, tmp_path: Path, name: str
) -> None:
    from bench.compose import compose
    from bench.plan import make
    from bench.stages.resident import backbone_of

    published = _published(root)
    assert name in published
    assert len(published) == 8  # none is left out of this test
    asked = ["+method=none", f"model={name}"]
    with pytest.raises(BenchError) as caught:
        make(*compose(asked))
    said = str(caught.value)
    assert "\n" not in said
    repository, _, revision = published[name]["path"].removeprefix("hf:").partition("@")
    assert f"hf download {repository} --revision {revision}" in said
    assert "model_index.json and the .safetensors go into models/" in said
    snapshot = place(cache, published[name]["path"], _tiny(name, tmp_path / "tiny"))
    plan = make(*compose(asked))
    assert plan.model_folder == snapshot
    network = backbone_of(plan)
    assert network.family == published[name]["family"]
    resolution = published[name]["resolution"]
    assert network.pixels == (resolution or 64)
    assert published[name]["licence"]


def test_a_model_is_the_same_by_its_folders_path(root: Path, cache: Path, tmp_path: Path) -> None:
    """A local path works wherever a name on the hub does, and makes the same keys."""
    from bench.compose import compose
    from bench.plan import make

    snapshot = place(cache, _published(root)["sdxl"]["path"], _tiny("sdxl", tmp_path / "tiny"))
    asked = ["+method=none", "model=sdxl"]
    assert make(*compose(asked)).keys == make(*compose([*asked, f"model.path={snapshot}"])).keys


def test_a_resolution_of_ones_own_is_in_the_keys(root: Path, cache: Path, tmp_path: Path) -> None:
    from bench.compose import compose
    from bench.plan import make

    place(cache, _published(root)["sdxl"]["path"], _tiny("sdxl", tmp_path / "tiny"))
    asked = ["+method=dreambooth_lora", "model=sdxl"]
    own, small = make(*compose(asked)).keys, make(*compose([*asked, "model.resolution=32"])).keys
    assert [k for k in own if own[k] == small[k]] == []


@pytest.mark.parametrize(
    ("lost", "named"),
    [
        ("unet/*.safetensors", "unet/diffusion_pytorch_model.safetensors"),
        ("text_encoder_2/*.safetensors", "text_encoder_2/model.safetensors"),
        ("tokenizer_2/*", "tokenizer_2/tokenizer.json"),
        ("vae/config.json", "vae/config.json"),
    ],
)
def test_a_download_that_was_cut_off_names_what_is_missing(
    root: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: str, named: str
) -> None:
    from bench.__main__ import main

    snapshot = place(cache, _published(root)["sdxl"]["path"], _tiny("sdxl", tmp_path / "tiny"))
    for path in snapshot.glob(lost):
        path.unlink()
    assert main(["+method=none", "model=sdxl", f"root={tmp_path}"]) == 2
    said = capsys.readouterr().err.strip()
    assert f"{named} is missing; it goes into {snapshot}" in said
    assert "\n" not in said


def test_a_missing_shard_and_weights_of_another_precision_alone_are_named(tmp_path: Path) -> None:
    from bench.whole import check_parts
    from tests import tiny

    folder = tiny.unet_folder(tmp_path / "m")
    check_parts(folder, "model.path=m")
    (weights,) = (folder / "unet").glob("*.safetensors")
    index = {"weight_map": {"a": weights.name, "b": "more-00002-of-00002.safetensors"}}
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BenchError, match=r"model\.path=m: unet/more-00002-of-00002\.safetensors is missing"):
        check_parts(folder, "model.path=m")
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text('{"weight_map": {"a')
    with pytest.raises(BenchError, match=r"safetensors\.index\.json: no index of weights"):
        check_parts(folder, "model.path=m")
    (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").unlink()
    weights.rename(weights.with_suffix(".fp16.safetensors"))
    with pytest.raises(BenchError, match=r"unet/diffusion_pytorch_model\.safetensors is missing"):
        check_parts(folder, "model.path=m")


def test_a_plan_of_photos_and_the_hubs_judges_is_estimated(
    root: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.__main__ import main
    from bench.compose import compose

    model = _tiny("sd15", tmp_path / "tiny")
    asked = ["+method=dreambooth_lora", "dataset=dreambooth", f"dataset.pictures={root / 'tests' / 'photos'}",
             "concept=dog3", "protocol.metrics=[metrics.dino.dino]", "model=sd15", f"model.path={model}"]  # fmt: skip
    spec = compose(asked)[0]["dataset"]["encoders"]["dino"]
    place(cache, spec["path"], paths.weights() / "dino-judge")
    assert main(["plan", *asked, f"root={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "memory  about" in said
    assert "dreambooth_lora on sd15 in" in said


def test_what_else_a_download_brings_is_no_part_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Single-file checkpoints and other precisions change no key, and a file is read once in a process."""
    from bench.backbone.files import fingerprint
    from tests import tiny

    folder = tiny.unet_folder(tmp_path / "m")
    own = fingerprint(folder)
    shutil.copy2(next((folder / "unet").glob("*.safetensors")), folder / "v1-5-pruned.safetensors")
    shutil.copy2(folder / "v1-5-pruned.safetensors", folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert fingerprint(folder) == own
    opened: list[Path] = []
    real = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *a, **k: opened.append(self) or real(self, *a, **k))
    assert fingerprint(folder) == own
    assert opened == [folder / "model_index.json"] or opened == []
    monkeypatch.undo()
    config = folder / "vae" / "config.json"
    config.write_text(config.read_text() + " ")
    assert fingerprint(folder) != own
