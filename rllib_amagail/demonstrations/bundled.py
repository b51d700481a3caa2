"""The expert episodes that come with the package."""

from pathlib import Path

_FOLDER = Path(__file__).parent.parent / "data"


def bundled_path(game: str) -> Path | None:
    """The file of a game's expert episodes; None for a game that has none."""
    path = _FOLDER / f"{game}.parquet"
    return path if path.is_file() else None
