"""What judges whose weights lie in a folder have in common."""

from __future__ import annotations

from bench.backbone.files import check_files, fingerprint, resolve


class OfFolder:
    """A judge's folder, looked at; nothing is loaded before the first picture.

    Args:
        name: what the judge goes by in tables.
        path: of its folder, or `embedded:NAME`.

    Raises:
        BenchError: the folder is missing or damaged.
    """

    device = "cpu"

    def __init__(self, name: str, path: str) -> None:
        self.name, self.folder = name, resolve(path)
        check_files(self.folder)
        self.fingerprint = fingerprint(self.folder)
