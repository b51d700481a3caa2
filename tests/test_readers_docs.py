"""The page on readers runs as it stands, in the order of the page."""

from __future__ import annotations

import pickle
import re
import shlex
from pathlib import Path

from rllib_amagail.cli.demos_parser import make_parser
from rllib_amagail.demonstrations import Demonstrations
from rllib_amagail.demonstrations.readers import from_rows, read_csv
from tests.reader_samples import as_rows, trajectories

PAGE = Path(__file__).parent.parent / "docs" / "your_own_demonstrations.md"


def blocks(language: str) -> list[str]:
    found = re.findall(r"```(\w*)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [body for name, body in found if name == language]


def test_the_python_runs(tmp_path: Path) -> None:
    # The working folder is tmp_path; these are the files that the page takes for granted.
    from_rows(as_rows(trajectories())).save("synchronous.parquet")
    Path("checkpoint20000-1000tra.pkl").write_bytes(pickle.dumps(trajectories()))
    Path("log.csv").write_text("ep,obs_0,obs_1,dx,dy,active\n0,1,2,0.5,0.5,1\n0,1,2,,,0\n")
    for code in blocks("python"):
        exec(compile(code, PAGE.name, "exec"), {})
    hunt = Demonstrations.load("hunt.parquet")
    assert 0.4 < hunt.records["hunter"].phi_share < 0.6
    assert hunt.records["hare"].phi_share == 0
    assert Demonstrations.load("spread.parquet").game == "simple_spread"
    assert Demonstrations.load("asynchronous.parquet").num_episodes == 3


def test_the_table_is_read(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("") if block.startswith("episode,"))
    Path("table.csv").write_text(text)
    found = read_csv("table.csv")
    assert found.agents == ("hare", "hunter")
    assert found.records["hare"].participates.tolist() == [False, True]


def test_the_commands_are_grammatical() -> None:
    lines = [line for block in blocks("") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if line.startswith("amagail")]
    assert len(commands) == 9
    for words in commands:
        make_parser().parse_args(words[1:])
