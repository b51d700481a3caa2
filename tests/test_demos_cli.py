"""``amagail demos``: what it prints and writes, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from rllib_amagail.cli.demos import main
from rllib_amagail.cli.demos_summary import summary
from rllib_amagail.demonstrations import Demonstrations, concatenate
from rllib_amagail.demonstrations.readers import from_dicts, from_rows
from rllib_amagail.player_functions import LogisticParticipation
from tests.demonstration_samples import SPACES, assert_same, assert_same_rows, example, play
from tests.reader_samples import as_rows, assert_is, trajectories


def run(*words: str | Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``amagail demos words``, which must not start Ray."""
    out, err = io.StringIO(), io.StringIO()
    no_ray = mock.patch("ray.init", side_effect=AssertionError("Ray was started"))
    with no_ray, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(["demos", *map(str, words)])
        except SystemExit as exit_:  # argparse
            code = int(exit_.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The episodes of `demonstration_samples.example`, which can be counted by hand."""
    path = tmp_path / "toy.parquet"
    example().save(path)
    return path


class TestInfo:
    def test_json_holds_the_numbers(self, file: Path) -> None:
        code, out, err = run("info", file, "--json")
        assert (code, err) == (0, "")
        found = json.loads(out)
        assert found["file"] == str(file)
        assert found["episodes"] == 2
        assert found["rounds"] == {"total": 5, "mean": 2.5, "std": 0.5, "min": 2, "max": 3}
        a = found["agents"]["a"]  # acts in rounds 0 and 2, and in round 0: actions 1, 2, 3
        assert (a["rows"], a["turns"], a["phi_share"]) == (5, 3, 0.4)
        assert a["return"] == {"mean": 1.5, "std": 2.5, "min": -1.0, "max": 4.0}
        assert a["actions"] == [{"first": 0, "counts": [0, 1, 1, 1, 0]}]
        assert a["action_space"]["type"] == "Discrete"

    def test_a_player_function_of_many_numbers_is_shortened(self, tmp_path: Path) -> None:
        zeros = np.zeros((2, 1000))
        turns = LogisticParticipation([0.0, 0.0], zeros[:, :2], zeros, initial=[1.0, 1.0])
        path = tmp_path / "many.parquet"
        replace(example(), player_function=turns.to_dict()).save(path)
        assert json.loads(run("info", path, "--json")[1])["player_function"] == turns.to_dict()
        out = run("info", path)[1]
        assert 'logistic_participation {"bias": [0.0, 0.0]' in out
        assert out.count("0.0, ") < 200

    def test_the_tables_tell_it_to_people(self, file: Path) -> None:
        code, out, _ = run("info", file)
        assert code == 0
        for text in (
            "toy",
            "5 (2 to 3 an episode)",
            "1.50 ± 2.50",
            "40.0%",
            "33.3%",
            "Discrete(5)",
        ):
            assert text in out

    def test_every_space_can_be_shown(self, tmp_path: Path) -> None:
        path = tmp_path / "all.parquet"
        play(SPACES, [6, 3], 0.5, seed=0).save(path)
        code, out, _ = run("info", path)
        assert code == 0
        assert "component 1" in out  # of the Box
        assert "[1] 2" in out  # the third choice of the MultiDiscrete's second component
        assert "-3 " in out  # the first choice of Discrete(2, start=-3)

    def test_without_rewards_and_actions(self, tmp_path: Path) -> None:
        bare = example(rewards=False).without_actions()
        about = summary(bare)
        assert about["agents"]["a"]["return"] is None
        assert about["agents"]["a"]["actions"] is None
        bare.save(tmp_path / "bare.parquet")
        code, out, _ = run("info", tmp_path / "bare.parquet")
        assert code == 0
        assert "Actions" not in out


class TestValidate:
    def test_good_files_are_counted(self, file: Path) -> None:
        code, out, err = run("validate", file, file)
        assert (code, err) == (0, "")
        assert out == f"{file}: ok, 2 episodes of 2 agents, 6 turns\n" * 2
        assert run("validate", "--quiet", file) == (0, "", "")

    def test_a_damaged_file_is_named_in_one_line_and_the_others_are_checked(
        self, tmp_path: Path, file: Path
    ) -> None:
        damaged = tmp_path / "damaged.parquet"
        data = bytearray(file.read_bytes())
        data[len(data) // 3] ^= 1
        damaged.write_bytes(data)
        code, out, err = run("validate", damaged, file)
        assert code == 1
        assert err.count("\n") == 1
        assert err.startswith(f"amagail: error: {damaged}: found")
        assert out.startswith(f"{file}: ok")


class TestConvert:
    def test_a_pickle_becomes_our_parquet(self, tmp_path: Path) -> None:
        source, out = tmp_path / "magail.pkl", tmp_path / "out.parquet"
        source.write_bytes(pickle.dumps(trajectories(), protocol=2))
        code, text, err = run("convert", source, out, "--game", "spread", "--agents", "x", "y")
        assert (code, err, text) == (0, "", f"Wrote {out}: 3 episodes\n")
        found = Demonstrations.load(out)
        assert_is(found, trajectories())
        assert (found.agents, found.game) == (("x", "y"), "spread")
        assert found.provenance["source"]["file"] == "magail.pkl"

    def test_columns_and_participation_have_names(self, tmp_path: Path) -> None:
        source, out = tmp_path / "log.csv", tmp_path / "out.parquet"
        source.write_text("ep,obs_1,obs_2,act,mine\n4,0.5,1,2,1\n4,0.25,1,0,0\n5,1,1,1,1\n")
        words = ["--columns", "episode=ep", "observation=obs_*", "action=act"]
        assert run("convert", source, out, *words, "--participation", "mine")[0] == 0
        record = Demonstrations.load(out).records["agent"]
        assert record.observation[:2].tolist() == [[0.5, 1.0], [0.25, 1.0]]
        assert record.participates.tolist() == [True, False, True]

    def test_the_same_options_name_the_arrays_of_npz(self, tmp_path: Path) -> None:
        source, out = tmp_path / "log.npz", tmp_path / "out.parquet"
        arrays = {"obs": np.ones((1, 2, 1, 1)), "actions": np.ones((1, 2, 1), int)}
        np.savez(source, **arrays, mine=np.array([[[1], [0]]]))
        words = ["--columns", "observation=obs", "--participation", "mine"]
        assert run("convert", source, out, *words)[0] == 0
        record = Demonstrations.load(out).records["agent_1"]
        assert record.participates.tolist() == [True, False]

    @pytest.mark.parametrize(
        "function", ["1,0", '{"type": "deterministic_pattern", "pattern": [[true, false]]}']
    )
    def test_a_player_function_makes_it_asynchronous(self, tmp_path: Path, function: str) -> None:
        source, out = tmp_path / "sync.parquet", tmp_path / "out.parquet"
        from_rows(as_rows(trajectories())).save(source)
        words = ["--player-function", function, "--seed", "5"]
        assert run("convert", source, out, *words)[0] == 0
        found = Demonstrations.load(out)
        assert [record.phi_share for record in found.records.values()] == [0.0, 1.0]
        assert found.player_function is not None
        assert found.provenance["participation_seed"] == 5

    def test_files_that_exist_are_kept_without_force(self, tmp_path: Path, file: Path) -> None:
        out = tmp_path / "out.parquet"
        out.write_text("precious")
        code, _, err = run("convert", file, out)
        assert (code, err) == (2, f"amagail: error: {out} exists already; --force replaces it\n")
        assert out.read_text() == "precious"
        assert run("convert", file, out, "--force")[0] == 0
        assert_same(Demonstrations.load(out), example())

    def test_what_cannot_be_read_leaves_nothing(self, tmp_path: Path) -> None:
        source = tmp_path / "evil.pkl"
        source.write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
        code, _, err = run("convert", source, tmp_path / "out.parquet")
        assert code == 1
        assert f"{source}: found os.system in the pickle" in err
        assert [path.name for path in tmp_path.iterdir()] == ["evil.pkl"]

    def test_a_folder_that_is_missing_is_said(self, file: Path) -> None:
        code, _, err = run("convert", file, "nowhere/out.parquet")
        assert code == 1
        assert "found no directory" in err


class TestMergeAndSplit:
    def test_merge_is_concatenate(self, tmp_path: Path, file: Path) -> None:
        out = tmp_path / "merged.parquet"
        assert run("merge", file, file, "--out", out)[0] == 0
        assert_same(Demonstrations.load(out), concatenate([example(), example()]))
        assert run("merge", file, "--out", out)[0] == 2

    def test_merging_different_games_is_an_error(self, tmp_path: Path, file: Path) -> None:
        other = tmp_path / "other.parquet"
        play(SPACES[:1], [2], 1.0, seed=0).save(other)
        code, _, err = run("merge", file, other, "--out", tmp_path / "out.parquet")
        assert code == 1
        assert "demonstrations do not fit" in err

    @pytest.mark.parametrize(
        ("words", "sizes"),
        [
            (["--fractions", "0.8", "0.2"], [8, 2]),
            (["--fractions", "0.33", "0.33", "0.34"], [3, 4, 3]),
            (["--fractions", "0.5"], [5]),
            (["--counts", "1", "6"], [1, 6]),
        ],
    )
    def test_split_shuffles_episodes_into_files(
        self, tmp_path: Path, words: list[str], sizes: list[int]
    ) -> None:
        source = play(SPACES[:2], list(range(1, 11)), 0.5, seed=0)  # episode e has e + 1 rounds
        source.save(tmp_path / "all.parquet")
        outs = [tmp_path / f"part{k}.parquet" for k in range(len(sizes))]
        assert run("split", tmp_path / "all.parquet", *words, "--out", *outs)[0] == 0
        parts = [Demonstrations.load(out) for out in outs]
        assert [part.num_episodes for part in parts] == sizes
        chosen = [length - 1 for part in parts for length in part.episode_lengths()]
        assert len(set(chosen)) == sum(sizes)
        assert chosen != sorted(chosen)
        expected = source.select(chosen[: sizes[0]])
        for agent, record in parts[0].records.items():
            assert_same_rows(record, expected.records[agent])
        before = [out.read_bytes() for out in outs]
        words = [*words, "--force", "--seed"]
        assert run("split", tmp_path / "all.parquet", *words, "0", "--out", *outs)[0] == 0
        assert [out.read_bytes() for out in outs] == before
        assert run("split", tmp_path / "all.parquet", *words, "1", "--out", *outs)[0] == 0
        assert [out.read_bytes() for out in outs] != before

    @pytest.mark.parametrize(
        ("words", "match"),
        [
            (["--fractions", "0.9", "0.2", "--out", "a.parquet", "b.parquet"], "at most 1 in all"),
            (["--fractions", "0.9", "0.1", "--out", "a.parquet", "b.parquet"], "none empty"),
            (["--counts", "2", "1", "--out", "a.parquet", "b.parquet"], "found 2 episodes"),
            (["--counts", "1", "--out", "a.parquet", "b.parquet"], "1 parts and 2 files"),
            (["--counts", "1", "1", "--out", "a.parquet", "a.parquet"], "a file twice"),
        ],
    )
    def test_wrong_parts_write_nothing(self, file: Path, words: list[str], match: str) -> None:
        code, _, err = run("split", file, *words)
        assert code == 2
        assert match in err
        assert not Path("a.parquet").exists()


class TestHead:
    def test_rows_come_by_episode_and_round(self, file: Path) -> None:
        code, out, _ = run("head", file, "--rows", "3")
        assert code == 0
        cells = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│")]
        rows = [[cell.strip() for cell in row] for row in cells]
        assert rows == [
            ["0", "0", "a", "1", "1", "0"],
            ["0", "0", "b", "φ", "0", "5"],
            ["0", "1", "a", "φ", "0", "1"],
        ]

    def test_whole_episodes(self, file: Path) -> None:
        _, out, _ = run("head", file, "--episodes", "1")
        assert sum(line.startswith("│") for line in out.splitlines()) == 6


class TestPlot:
    def test_it_is_a_picture(self, tmp_path: Path, file: Path) -> None:
        out = tmp_path / "toy.png"
        assert run("plot", file, out)[:2] == (0, f"Wrote {out}\n")
        with Image.open(out) as picture:
            assert picture.size[0] > 1000
            assert len(set(picture.convert("RGB").resize((100, 100)).getdata())) > 50
        assert run("plot", file, out)[0] == 2
        assert sorted(os.listdir(tmp_path)) == ["toy.parquet", "toy.png"]

    @pytest.mark.parametrize("kind", ["all spaces", "Box", "bare", "many"])
    def test_every_kind_of_demonstrations_can_be_drawn(self, tmp_path: Path, kind: str) -> None:
        rng = np.random.default_rng(0)
        demonstrations = {
            "all spaces": lambda: play(SPACES, [6, 3], 0.5, seed=0),
            "Box": lambda: from_dicts([{"observations": [np.ones((2, 1))], "actions": [[0.5, 1]]}]),
            "bare": lambda: example(rewards=False).without_actions(),
            "many": lambda: from_dicts(
                [
                    {
                        "observations": rng.random((10, 200, 2)),
                        "actions": rng.integers(20, size=(10, 200)),
                    }
                ]
            ),
        }[kind]()
        demonstrations.save(tmp_path / "x.parquet")
        assert run("plot", tmp_path / "x.parquet", tmp_path / "x.png")[0] == 0

    def test_other_pictures_are_refused(self, tmp_path: Path, file: Path) -> None:
        code, _, err = run("plot", file, tmp_path / "toy.jpg")
        assert code == 2
        assert "ends in .png" in err


class TestUsage:
    @pytest.mark.parametrize(
        "words",
        [
            ["info"],
            ["sing"],
            ["head", "x", "--rows", "0"],
            ["convert", "x.csv", "y", "--columns", "episode"],
            ["convert", "x.csv", "y", "--player-function", "2"],
            ["convert", "x.csv", "y", "--player-function", '{"type": "x"}'],
            ["split", "x", "--out", "y"],
        ],
    )
    def test_wrong_words_are_usage_errors(self, words: list[str]) -> None:
        code, _, err = run(*words)
        assert code == 2
        assert "usage: amagail" in err

    def test_help_shows_examples(self) -> None:
        code, out, _ = run("--help")
        assert code == 0
        assert "amagail demos convert" in out
        for command in ("info", "validate", "convert", "merge", "split", "head", "plot"):
            assert command in out

    def test_ctrl_c_has_its_own_code(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("rllib_amagail.cli.demos.read", interrupt)
        assert run("info", file) == (130, "", "amagail: interrupted\n")
