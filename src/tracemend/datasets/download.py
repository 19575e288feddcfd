"""One file from its public home."""

from __future__ import annotations

import logging
from pathlib import Path

from tracemend.datasets.base import brief
from tracemend.errors import DataError, extra


def download(url: str, path: Path) -> Path:
    """Download to ``path``. What the content must be is for the caller to check.

    Raises DataError, and MissingError where pooch (the ``datasets`` extra) isn't installed.
    """
    with extra("datasets"):
        import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        pooch.retrieve(
            url,
            known_hash=None,
            fname=path.name,
            path=path.parent,
            downloader=pooch.HTTPDownloader(timeout=60),
        )
    except (OSError, ValueError) as e:
        raise DataError(f"{url}: can't be downloaded: {brief(e)}") from e
    return path
