"""Folders of parts, and addresses that pyarrow understands."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from rllib_amagail import AMAGAILConfig, MultiAgentBCConfig
from rllib_amagail.demonstrations import Demonstrations, DemonstrationsError, concatenate
from rllib_amagail.demonstrations.folder import part_name, parts_of
from rllib_amagail.games import GAME_NAMES
from tests.demonstration_samples import assert_same, example

PART = part_name(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two parts: the episodes of `example`, then its first one again."""
    path = tmp_path / "z"
    path.mkdir()
    example().save(path / part_name(0))
    example().head(1).save(path / part_name(1))
    return path


def refuse(path: Path | str, message: str, max_bytes: int = 2**20) -> None:
    with pytest.raises(DemonstrationsError, match=message):
        Demonstrations.load(path, max_bytes)


class TestFolders:
    def test_parts_are_joined_and_other_files_ignored(self, folder: Path) -> None:
        (folder / "readme.txt").write_text("notes")
        (folder / "part-1.parquet").write_text("not a part")
        (folder / f".{PART}.0123.tmp").write_text("half a part")
        (folder / part_name(7)).mkdir()
        loaded = Demonstrations.load(folder)
        assert_same(loaded, replace(concatenate([example(), example().head(1)]), provenance={}))
        assert Demonstrations.validate(folder)["episodes"] == 3

    def test_a_folder_of_one_part_is_that_part(self, folder: Path) -> None:
        (folder / part_name(1)).unlink()
        assert_same(Demonstrations.load(folder), example())

    def test_parts_are_in_order_of_labels_and_numbers(self, tmp_path: Path) -> None:
        names = [
            part_name(3),
            part_name(99_999),
            part_name(100_000),
            part_name(0, "w1"),
            part_name(100_000, "w1"),
            part_name(0, "w10"),
        ]
        for name in reversed(names):
            (tmp_path / name).touch()
        assert [Path(part.path).name for part in parts_of(tmp_path)] == names

    def test_provenances_are_kept_once_each(self, folder: Path) -> None:
        for number, seed in enumerate((1, 2, 1)):
            replace(example(), provenance={"seed": seed}).save(folder / part_name(number))
        provenance = {"concatenated": [{"seed": 1}, {"seed": 2}]}
        assert Demonstrations.load(folder).provenance == provenance

    def test_a_folder_without_parts(self, tmp_path: Path) -> None:
        (tmp_path / "z.parquet").touch()
        refuse(tmp_path, f"{tmp_path}: found a folder of 1 files without any part")

    def test_a_damaged_part_is_named(self, folder: Path) -> None:
        (folder / part_name(1)).write_bytes(b"PAR1PAR1")
        refuse(folder, f"{folder / part_name(1)}: found a file that cannot be read as Parquet")

    def test_a_part_of_another_kind_is_named(self, folder: Path) -> None:
        example().without_actions().save(folder / part_name(1))
        refuse(folder, f"{folder / part_name(1)}: found has_actions False, expected True")
        example(rewards=False).save(folder / part_name(1))
        refuse(folder, f"{folder / part_name(1)}: found parts with and without rewards")

    def test_sizes_are_added_up_before_any_row_is_read(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        size = max((folder / part_name(0)).stat().st_size, 10 * 25)
        Demonstrations.load(folder / part_name(0), size)

        def read(*args: object, **kwargs: object) -> None:
            raise AssertionError("rows were read")

        monkeypatch.setattr(pq, "ParquetFile", read)
        refuse(folder, f"{folder}: found more than {size} bytes .* to .*{part_name(1)}", size)


class TestAddresses:
    def test_local_ones(self, folder: Path) -> None:
        for path in (folder, folder / PART):
            assert_same(Demonstrations.load(f"file://{path}"), Demonstrations.load(path))

    def test_of_another_filesystem(self, folder: Path) -> None:
        memory = fsspec.filesystem("memory")
        memory.put(str(folder), "/recorded", recursive=True)
        try:
            here = Demonstrations.load(folder)
            assert_same(Demonstrations.load("fsspec+memory:///recorded"), here)
            file = f"fsspec+memory:///recorded/{PART}"
            assert_same(Demonstrations.load(file), example())
            refuse("fsspec+memory:///nowhere", "fsspec.memory:///nowhere: found no such file")
            memory.pipe(f"/recorded/{PART}", b"PAR1")
            refuse("fsspec+memory:///recorded", f"fsspec.memory:///recorded/{PART}: found a file")
        finally:
            memory.rm("/recorded", recursive=True)

    def test_unknown_ones_are_refused(self) -> None:
        refuse("nonsense://bucket/z", "nonsense://bucket/z: found an address .* cannot be opened")

    def test_odd_names_of_local_files_are_no_addresses(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("s3:z.parquet", "file:z.parquet", "a b%20?c#d.parquet", "C:/z.parquet"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            shutil.copy(folder / PART, path)
            monkeypatch.chdir(folder)
            assert_same(Demonstrations.load(name), example())
        # A path never is an address, even if its text looks like one.
        shutil.copy(folder / PART, "z")
        Path("file:").mkdir()
        shutil.move("z", "file:/z")
        assert_same(Demonstrations.load(Path("file://z")), example())


class TestConfigs:
    def test_train_on_folders_and_addresses(self, tmp_path: Path) -> None:
        game = next(name for name in GAME_NAMES if not name.startswith("synchronous"))
        bundled = AMAGAILConfig().environment(game).load_demonstrations()
        for number in range(3):
            part = bundled.select(range(2 * number, 2 * number + 2))
            part.save(tmp_path / part_name(number))
        for source in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
            for config in (AMAGAILConfig(), MultiAgentBCConfig()):
                config.environment(game).imitation(demonstrations=source, num_demonstrations=5)
                config.validate()
                assert config.load_demonstrations().num_episodes == 5
                for agent, record in config.load_demonstrations().records.items():
                    expected = bundled.head(5).records[agent].observation
                    assert record.observation.tolist() == expected.tolist()
