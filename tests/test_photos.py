"""Photographs on the same path: every stage with a small random pipeline, and four phone photos in one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from tiny import unet_folder

from bench.__main__ import main
from bench.boards.leaderboard import collect, render, update
from bench.errors import BenchError
from bench.meaning import RANDOM, meaningless
from bench.row import Row

JUDGES = ["dataset.encoders.clip.path=embedded:clip-judge", "dataset.encoders.dino.path=embedded:dino-judge"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides of a model whose weights nobody has trained."""
    folder = unet_folder(tmp_path_factory.mktemp("tiny") / "unet")
    return ["model=sticker-unet", "model.name=tiny", f"model.path={folder}", "model.steps=2", "+model.random=true"]


def _run(args: list[str], root: Path) -> Row:
    assert main([*args, f"root={root}"]) == 0
    (path,) = root.glob(f"{args[0].split('=')[1]}/*/row.json")
    return Row.model_validate_json(path.read_text())


@pytest.fixture(scope="module")
def made(tiny: list[str], root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Row]:
    """One run of a DreamBooth subject under its protocol, made small."""
    out = tmp_path_factory.mktemp("photos")
    args = ["+method=dreambooth_lora", "dataset=dreambooth", f"dataset.pictures={root / 'tests' / 'photos'}",
            "concept=dog3", "protocol=dreambooth", "protocol.seeds={concept: 1, class: 2, unrelated: 2}"]  # fmt: skip
    return out, _run([*args, *JUDGES, *tiny, "method.steps=3"], out)


def test_every_stage_runs_on_photographs_and_the_scores_are_said_to_mean_nothing(made: tuple[Path, Row]) -> None:
    out, row = made
    assert (row.status, row.dataset, row.concept, row.protocol) == ("ok", "dreambooth", "dog3", "dreambooth")
    assert {"dino", "clip_i", "clip_t", "drift/class", "copy_rate"} <= set(row.measured)
    assert row.measured["dino"].n == 25  # its prompts, one picture each
    assert row.anchors["references"]["dino"].n == 6  # its photos
    assert row.provenance["meaningless"] == RANDOM == meaningless(row)
    assert {p.name for p in (out / "store").iterdir() if p.is_dir()} >= {"train", "base", "generate", "score"}
    (page,) = out.glob("*/*/report.html")
    assert RANDOM in page.read_text(encoding="utf-8").replace("&#39;", "'")


def test_a_row_does_not_know_where_its_photos_lay(root: Path, tmp_path: Path) -> None:
    from bench.compose import compose
    from bench.plan import make

    photos = root / "tests" / "photos"
    shutil.copytree(photos / "dog3", tmp_path / "dog3")
    given = ["+method=none", "dataset=dreambooth", "concept=dog3", "protocol=dreambooth", *JUDGES]
    first, second = (make(*compose([*given, f"dataset.pictures={at}"])) for at in (photos, tmp_path))
    assert first.keys == second.keys and first.concept.folder != second.concept.folder


def test_the_terminal_says_so_too(made: tuple[Path, Row], capsys: pytest.CaptureFixture[str]) -> None:
    from types import SimpleNamespace

    from bench.headline import verdict
    from bench.show import show

    assert verdict(made[1]).lower().startswith(RANDOM.lower())  # the page's first sentence
    show(made[1], SimpleNamespace(config={}, folder=made[0], concept=SimpleNamespace(class_phrase="dog")), there=False)  # type: ignore[arg-type]
    assert RANDOM.lower() in " ".join(capsys.readouterr().out.split()).lower()


def test_such_a_row_enters_no_leaderboard(
    made: tuple[Path, Row], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    row = made[1].model_copy(update={"protocol": "quick"})
    own = row.provenance | {"command": "python -m bench +method=dreambooth_lora +model.random=true"}
    honest = row.model_copy(update={"provenance": own})
    hidden = row.model_copy(update={"provenance": {k: v for k, v in own.items() if k != "meaningless"}})
    trained = row.model_copy(update={"provenance": {"command": "python -m bench +method=dreambooth_lora"}})
    for name, one in {"honest": honest, "hidden": hidden, "trained": trained}.items():
        (tmp_path / name / "runs").mkdir(parents=True)
        (tmp_path / name / "runs" / "row.json").write_text(one.model_dump_json())
    assert collect([tmp_path / "honest"]) == collect([tmp_path / "hidden"]) == {}
    assert caplog.text.count(RANDOM) == 2
    assert len(collect([tmp_path / "trained"])) == 1  # the flag alone keeps a row out
    (board,) = update(tmp_path / "boards", [trained])
    (path,) = (board / "rows").glob("*.json")
    for one in (honest, hidden):  # put there by hand
        path.write_text(one.model_dump_json())
        with pytest.raises(BenchError, match="no board takes it") as caught:
            render(board)
        assert str(path) in str(caught.value)
        assert main(["validate", str(path)]) == 2
        assert "no board takes it" in capsys.readouterr().err


def test_what_is_erased_by_its_words_alone_needs_no_picture(tiny: list[str], tmp_path: Path) -> None:
    args = ["+method=esd", "dataset=unlearncanvas", "concept=object_dogs", "protocol=spm", *JUDGES, *tiny]
    small = ["protocol.seeds={concept: 0, neighbour: 0, unrelated: 2}", "method.steps=2"]
    row = _run([*args, *small], tmp_path)
    assert row.status == "ok" and {"drift/unrelated", "alteration/unrelated"} <= set(row.measured)
    assert set(row.anchors) == {"none"}  # there are no references to be one


# --- four photos of a phone --------------------------------------------------------------------


@pytest.fixture
def phone(root: Path, tmp_path: Path) -> Path:
    """A folder with one subfolder: turned, of several sizes and formats, and a camera's MPO by the name of .jpg."""
    folder = tmp_path / "phone" / "my_dog"
    folder.mkdir(parents=True)
    photos = [Image.open(p).convert("RGB") for p in sorted((root / "tests" / "photos" / "dog3").glob("*.jpg"))[:4]]
    turned = Image.Exif()
    turned[0x0112] = 6
    photos[0].transpose(Image.Transpose.ROTATE_90).resize((120, 160)).save(folder / "IMG_0.jpg", exif=turned)
    photos[1].crop((0, 30, 192, 150)).save(folder / "IMG_1.JPG")
    photos[2].resize((90, 90)).save(folder / "IMG_2.png")
    photos[3].save(folder / "IMG_3.jpg", format="MPO", save_all=True, append_images=[photos[2].resize((192, 192))])
    return folder.parent


SEEDS = "{concept: 1, part: 0, class: 1, neighbour: 1, unrelated: 1, empty: 0, alias: 0, compose: 0}"
SMALL = ["concept=my_dog", "method.steps=3", "model.steps=2", f"protocol.seeds={SEEDS}"]


# training opens pictures without closing them, which Pillow does itself but for files of several pictures
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_of_four_phone_photos_gives_a_row_in_one_command(phone: Path, tmp_path: Path) -> None:
    row = _run(["+method=dreambooth_lora", "dataset=folder", f"dataset.path={phone}", *SMALL], tmp_path / "runs")
    assert (row.status, row.concept, row.model, row.kind) == ("ok", "my_dog", "sticker-flow", "subject")
    assert row.measured["dino"].n == 6 and row.anchors["references"]["dino"].n == 4
    assert not meaningless(row)
    shown = _shown(next((tmp_path / "runs").glob("*/*/report.html")))
    assert [i.size for i in shown[:4]] == [(160, 120), (192, 120), (90, 90), (192, 192)]  # the first turned upright


def _shown(page: Path) -> list[Image.Image]:
    import base64
    import io
    import re

    found = re.findall(r"data:image/\w+;base64,([A-Za-z0-9+/=]+)", page.read_text(encoding="utf-8"))
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in found]


def test_a_turned_photo_is_learned_as_it_is_seen(phone: Path, tmp_path: Path) -> None:
    """A copy with its pixels turned and no tag trains on the same square."""
    from bench.backbone.files import squares
    from bench.pictures import read_picture

    path = phone / "my_dog" / "IMG_0.jpg"
    with Image.open(path) as tagged:
        (seen,) = squares([tagged], 32)
    (upright,) = squares([read_picture(path)], 32)
    assert seen.tobytes() == upright.tobytes()
    assert read_picture(path).size == (160, 120)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("heic", "convert it to JPEG"),
        ("nothing", "no concept 'my_dog'"),
        ("broken", "not a readable picture"),
        ("elsewhere", "no folder"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(
    phone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    folder, given = phone / "my_dog", phone
    if change == "heic":
        (folder / "IMG_0.jpg").rename(folder / "IMG_0.HEIC")
    elif change == "nothing":
        shutil.rmtree(folder)
    elif change == "broken":
        (folder / "IMG_1.JPG").write_bytes(b"\xff\xd8 and no more")
    else:
        given = phone / "elsewhere"
    args = ["+method=dreambooth_lora", "dataset=folder", f"dataset.path={given}", *SMALL, f"root={tmp_path / 'runs'}"]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_the_photos_of_the_tests_are_few_small_and_credited(root: Path) -> None:
    photos = list((root / "tests" / "photos").rglob("*.jpg"))
    assert len(photos) == 11 and sum(p.stat().st_size for p in photos) < 1_500_000
    notice = (root / "NOTICE").read_text(encoding="utf-8")
    assert "tests/photos" in notice and "Creative Commons" in notice
    assert all(name in notice for name in ("Yael Pritch", "Nataniel Ruiz", "google/dreambooth"))


def test_the_rows_digest_does_not_know_that_it_means_nothing(made: tuple[Path, Row]) -> None:
    """The same command gives the same digest, whatever its provenance says."""
    said = json.loads(made[1].model_dump_json())
    said["provenance"].pop("meaningless")
    assert Row.model_validate(said).digest() == made[1].digest()
