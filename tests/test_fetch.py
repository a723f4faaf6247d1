"""Fetching, from a server on this machine: what is cut short, another file or leads elsewhere is refused."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from PIL import Image

from bench.__main__ import main
from bench.data.archive import unpack
from bench.data.dataset import names, templates
from bench.data.fetch import download, source, sums
from bench.errors import BenchError


class _Server(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...

    def do_GET(self) -> None:
        if self.path.endswith("short.jpg"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 400)
            return
        super().do_GET()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Server, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _jpeg(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(data, "jpeg")
    return data.getvalue()


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: tuple[Path, str]) -> Path:
    """A dataset `toys` of two listed photos, served; its authors' address is that of the server."""
    folder, address = served
    toys = tmp_path / "shipped" / "datasets" / "toys"
    toys.mkdir(parents=True)
    lines = []
    for name, colour in (("bear/0.jpg", "red"), ("duck/0.jpg", "blue")):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(_jpeg(colour))
        lines.append(f"{hashlib.sha256(_jpeg(colour)).hexdigest()} {len(_jpeg(colour))} {name}")
    (toys / "sums.txt").write_text("\n".join(lines) + "\n")
    about = {"licence": "CC0: do what you like", "home": "https://toys", "base": address, "files": "sums.txt"}
    (toys / "source.yaml").write_text(yaml.safe_dump(about))
    concepts = {n: {"class_phrase": n, "kind": "subject", "licence": "CC0"} for n in ("bear", "duck")}
    (toys / "concepts.yaml").write_text(yaml.safe_dump({"concepts": concepts}))
    (toys / "prompts.yaml").write_text("concept: ['a {noun}']\n")
    monkeypatch.setattr("bench.paths.shipped", lambda name: tmp_path / "shipped" / name)
    return toys


def _left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


def test_the_licence_comes_before_anything_is_fetched(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.data.fetch.download", lambda *_: pytest.fail("it was fetched"))
    assert main(["data", "fetch", "toys", "--to", str(tmp_path / "toys")]) == 2
    out, err = capsys.readouterr()
    assert "CC0: do what you like" in out and "--accept" in err and len(err.splitlines()) == 1
    assert not (tmp_path / "toys").exists()


def test_what_is_fetched_is_whole_and_checked(
    shipped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "toys"
    assert main(["data", "fetch", "toys", "--accept", "--to", str(to)]) == 0
    assert _left(to) == ["bear/0.jpg", "duck/0.jpg"]
    assert main(["data", "check", "toys", "--at", str(to)]) == 0
    assert "2 concepts, 2 pictures, 2 files by their sums" in capsys.readouterr().out
    assert main(["data", "fetch", "toys", "--accept", "--to", str(to)]) == 2
    assert "is there already" in capsys.readouterr().err
    (to / "duck" / "0.jpg").write_bytes(_jpeg("green"))
    assert main(["data", "check", "toys", "--at", str(to)]) == 2
    error = capsys.readouterr().err
    assert str(to / "duck" / "0.jpg") in error and "0 others of 2" in error and len(error.splitlines()) == 1


def test_a_folder_may_stand_for_the_authors_address(shipped: Path, served: tuple[Path, str], tmp_path: Path) -> None:
    said = source("toys").model_copy(update={"base": "http://127.0.0.1:9"})
    (shipped / "source.yaml").write_text(yaml.safe_dump(said.model_dump()))
    args = ["data", "fetch", "toys", "--accept", "--to", str(tmp_path / "toys"), "--from", str(served[0])]
    assert main(args) == 0
    assert len(_left(tmp_path / "toys")) == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b[:-9], "not the whole file"),
        (lambda b: b + b"x", "not the whole file"),
        (lambda b: b[:-1] + b"x", "another file"),
        (lambda b: b"", "not the whole file"),
        (None, "404"),
    ],
)
def test_a_wrong_file_leaves_no_dataset_and_the_same_command_goes_on(
    shipped: Path, served: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object,
    says: str,
) -> None:  # fmt: skip
    to, photo = tmp_path / "toys", served[0] / "duck" / "0.jpg"
    whole = photo.read_bytes()
    photo.write_bytes(damage(whole)) if callable(damage) else photo.unlink()
    args = ["data", "fetch", "toys", "--accept", "--to", str(to)]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert says in error and "duck/0.jpg" in error and len(error.splitlines()) == 1
    assert not to.exists() and _left(to.with_name(".toys.partial")) == ["bear/0.jpg"]
    photo.write_bytes(whole)
    (served[0] / "bear" / "0.jpg").unlink()  # what was whole is not fetched again
    assert main(args) == 0
    assert _left(to) == ["bear/0.jpg", "duck/0.jpg"]


def test_a_connection_that_breaks_off_is_seen_without_a_sum(served: tuple[Path, str], tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"400 bytes, where 1000 would be right|cannot be fetched"):
        download(f"{served[1]}/short.jpg", tmp_path / "short.jpg", "", 0)
    assert _left(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "why"),
    [("http://127.0.0.1:9/x", "refused"), ("ftp://127.0.0.1/x", "http, https or file"), ("x:/x", "")],
)
def test_an_address_that_cannot_be_read_is_one_line(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(BenchError, match=f"cannot be fetched: .*{why}") as caught:
        download(url, tmp_path / "x", "", 0)
    assert url in str(caught.value) and "\n" not in str(caught.value)


# --- archives ----------------------------------------------------------------------------------


def _zip(path: Path, files: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name)
            member.compress_type = zipfile.ZIP_DEFLATED
            if name == link:
                member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt", "."])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = _zip(tmp_path / "x.zip", {"a/good.txt": b"1", name: b"2"})
    with pytest.raises(BenchError, match="leads out of its folder"):
        unpack(path, tmp_path / "into")
    assert _left(tmp_path) == ["x.zip"]


def test_a_link_and_a_bomb_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="is a link"):
        unpack(_zip(tmp_path / "x.zip", {"a": b"/etc"}, link="a"), tmp_path / "into")
    with pytest.raises(BenchError, match="far more than its size"):
        unpack(_zip(tmp_path / "x.zip", {f"{k}": bytes(2**24) for k in range(8)}), tmp_path / "into")
    assert _left(tmp_path) == ["x.zip"]


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "x.zip", {"a.txt": b"text" * 99}).read_bytes()
    deflated = whole.index(b"a.txt") + len(b"a.txt")
    broken = whole[:deflated] + b"\xff" + whole[deflated + 1 :]  # no block of deflate begins so
    for damaged in (whole[:-30], b"no zip", whole.replace(whole[40:44], b"\0\0\0\0", 1), broken):
        (tmp_path / "x.zip").write_bytes(damaged)
        with pytest.raises(BenchError, match="not a whole zip file"):
            unpack(tmp_path / "x.zip", tmp_path / "into")


def test_an_archive_without_the_folder_that_is_taken_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="no file in it lies below photos/"):
        unpack(_zip(tmp_path / "x.zip", {"photo/1.txt": b"1"}), tmp_path / "into", "photos")
    with pytest.raises(BenchError, match=r"no file in it$"):
        unpack(_zip(tmp_path / "x.zip", {}), tmp_path / "into")


CAPTIONED = {
    "data/images/object/00.jpg": _jpeg("red"),
    "data/captions/object/00.txt": b"teapot\nA Teapot at sea\nart\n",
    "data/images/human/02.jpg": _jpeg("green"),
    "data/captions/human/02.txt": b"man\nA romantic photo of a man\nA Man, many men\n",
    "data/images/style/01.png": _jpeg("blue"),
    "data/captions/style/01.txt": b"ink\nink of a fox\n",
}


def test_captioned_pictures_become_concepts_with_prompts_of_their_own(
    tmp_path: Path, shipped: Path, served: tuple[Path, str]
) -> None:
    path = _zip(served[0] / "data.zip", CAPTIONED)
    archive = {"url": f"{served[1]}/data.zip", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    about = {"licence": "x", "home": "y", "archive": archive, "layout": "captions"}
    (shipped / "source.yaml").write_text(yaml.safe_dump(about))
    to = tmp_path / "toys"
    assert main(["data", "fetch", "toys", "--accept", "--to", str(to)]) == 0
    assert names(to) == ["human_02_man", "object_00_teapot", "style_01_ink"]
    from bench.data.concept_file import load

    teapot, style = load(to, "object_00_teapot"), load(to, "style_01_ink")
    assert (teapot.kind, style.kind) == ("subject", "style")
    assert templates(to, "object_00_teapot")["concept"] == ["A {noun} at sea", "art"]
    assert templates(to, "human_02_man")["concept"] == ["A romantic photo of a {noun}", "A {noun}, many men"]
    assert not list(tmp_path.glob(".*"))


def test_an_archive_without_a_published_sum_is_taken_only_when_asked_for(
    tmp_path: Path, shipped: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    _zip(served[0] / "data.zip", CAPTIONED)
    about = {"licence": "x", "home": "y", "archive": {"url": f"{served[1]}/data.zip"}, "layout": "captions"}
    (shipped / "source.yaml").write_text(yaml.safe_dump(about))
    args = ["data", "fetch", "toys", "--accept", "--to", str(tmp_path / "toys")]
    assert main(args) == 2
    assert "--unchecked" in capsys.readouterr().err
    assert main([*args, "--unchecked"]) == 0


def test_what_was_taken_unchecked_says_its_sum_and_is_checked_from_then_on(
    tmp_path: Path, shipped: Path, served: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """By the sums its files had when they came."""
    photos = {f"in/{name}/1.jpg": _jpeg(colour) for name, colour in (("bear", "green"), ("duck", "white"))}
    path = _zip(served[0] / "data.zip", {**photos, "in/own name/ü.txt": b"words", "elsewhere.txt": b"not taken"})
    about = yaml.safe_load((shipped / "source.yaml").read_text())
    about["archive"] = {"url": f"{served[1]}/data.zip", "inside": "in"}
    (shipped / "source.yaml").write_text(yaml.safe_dump(about))
    to = tmp_path / "toys"
    assert main(["data", "fetch", "toys", "--accept", "--unchecked", "--to", str(to)]) == 0
    said = capsys.readouterr().out
    assert f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {served[1]}/data.zip" in said
    assert "sums of its 3 files" in said and "6 files in" in said
    kept = (to / "checksums.txt").read_text(encoding="utf-8").splitlines()
    assert kept[0] == f"{hashlib.sha256(_jpeg('green')).hexdigest()} {len(_jpeg('green'))} bear/1.jpg"
    assert [line.split(" ", 2)[2] for line in kept] == ["bear/1.jpg", "duck/1.jpg", "own name/ü.txt"]
    check = ["data", "check", "toys", "--at", str(to)]
    assert main(check) == 0
    assert "2 concepts, 4 pictures, 5 files by their sums" in capsys.readouterr().out
    (to / "duck" / "1.jpg").write_bytes(_jpeg("black"))
    assert main(check) == 2
    assert str(to / "duck" / "1.jpg") in capsys.readouterr().err
    (to / "checksums.txt").write_text("no list\n")
    assert main(check) == 2
    error = capsys.readouterr().err
    assert f"{to / 'checksums.txt'}: `SHA-256 BYTES PATH`" in error and len(error.splitlines()) == 1


def test_prompts_of_a_set_are_given_to_each_of_its_concepts(
    tmp_path: Path, shipped: Path, served: tuple[Path, str]
) -> None:
    said = yaml.safe_load((shipped / "concepts.yaml").read_text())
    for fields in said["concepts"].values():
        fields["prompts"] = "toy"
    (shipped / "concepts.yaml").write_text(yaml.safe_dump(said))
    (served[0] / "prompts").mkdir()
    content = b"Photo of a {}.\n\n{} at sea\n"
    (served[0] / "prompts" / "toy.txt").write_bytes(content)
    with (shipped / "sums.txt").open("a") as f:
        f.write(f"{hashlib.sha256(content).hexdigest()} {len(content)} prompts/toy.txt\n")
    about = yaml.safe_load((shipped / "source.yaml").read_text()) | {"layout": "prompts"}
    (shipped / "source.yaml").write_text(yaml.safe_dump(about))
    assert main(["data", "fetch", "toys", "--accept", "--to", str(tmp_path / "toys")]) == 0
    assert templates(shipped, "bear", tmp_path / "toys")["concept"] == ["Photo of a {noun}.", "{noun} at sea"]


def test_every_shipped_source_says_its_licence_and_what_its_files_must_be(root: Path) -> None:
    found = sorted(p.parent.name for p in (root / "datasets").glob("*/source.yaml"))
    assert found == ["customconcept101", "dreambench-plus", "dreambooth"]
    for name in found:
        said = source(name)
        assert said.licence and said.home.startswith("https://")
        listed = sums(name, said)
        assert listed or (said.archive and len(said.archive.sha256) == 64)
        assert all(len(s) == 64 and size > 0 and ".." not in path for s, size, path in listed)
    assert len(sums("dreambooth", source("dreambooth"))) == 158
    pictures = [p for p in (root / "datasets").rglob("*") if p.suffix in (".jpg", ".jpeg", ".heic")]
    assert pictures == []  # nobody's photos are bundled


def test_the_verb_says_what_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "nothing"]) == 2
    assert "customconcept101, dreambench-plus, dreambooth" in capsys.readouterr().err
    assert main(["data", "check", "dreambooth", "--at", "/no/such"]) == 2
    assert "data fetch dreambooth" in capsys.readouterr().err
