"""Random damage to valid files: what every loader makes of it.

    python benchmarks/corruptions.py                    # a million, ten minutes on two cores
    python benchmarks/corruptions.py --count 20000 --output /tmp/look

Each case takes a valid file, damages it in one of six ways and reads it. Files of this package have
checksums, so the outcome must be the package's error or the very same contents. Foreign formats
have none (a digit of a CSV may become another digit): there it must be the error, or demonstrations
that pass every check of a recording. Anything else (another exception, a process that dies) is a
failure, and its number is kept: a case follows from its number.

Writes corruptions.json and corruptions.md; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete
from machine import describe_machine
from rich.progress import Progress

from rllib_amagail import Demonstrations, DemonstrationsError, LearnedFileError, LearnedPolicy
from rllib_amagail.demonstrations import readers
from rllib_amagail.learned_files import save_index, save_learned

ROOT = Path(__file__).parent.parent
BLOCK = 2000  # cases of a process
FAILED = "failed"
AGENTS = ("a", "b")


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        name: of the format.
        write: makes a valid file, or several, in a folder; says which are to be damaged.
        read: reads the folder; what it returns is compared by value.
        has_checksum: whether other contents must be noticed.
    """

    name: str
    write: Callable[[Path], list[Path]]
    read: Callable[[Path], Any]
    has_checksum: bool


def damage(content: bytes, rng: np.random.Generator) -> bytes:
    """``content`` with a bit flipped, bytes overwritten, zeroed, moved or lost, or its end cut."""
    damaged, size = bytearray(content), len(content)
    first = int(rng.integers(size))
    last = min(size, first + int(rng.integers(1, 65)))
    match int(rng.integers(6)):
        case 0:
            damaged[first] ^= 1 << int(rng.integers(8))
        case 1:
            for place in rng.integers(size, size=rng.integers(1, 9)):
                damaged[place] = int(rng.integers(256))
        case 2:
            del damaged[first:]
        case 3:
            damaged[first:last] = bytes(last - first)
        case 4:
            place = int(rng.integers(size))
            damaged[place:place] = damaged[first:last]
        case _:
            del damaged[first:last]
    return bytes(damaged)


def outcome(kind: Format, original: Any, number: int, files: Mapping[Path, bytes]) -> str:
    """What reading does after the damage of case ``number``: one word, or "failed: ..."."""
    rng = np.random.default_rng([number, len(kind.name)])
    victim = list(files)[int(rng.integers(len(files)))]
    damaged = damage(files[victim], rng)
    victim.write_bytes(damaged)
    try:
        found = kind.read(victim.parent)
    except (DemonstrationsError, LearnedFileError):
        return "refused"
    except BaseException as error:
        return f"{FAILED}: {type(error).__name__}: {error}"[:300]
    finally:
        victim.write_bytes(files[victim])
    if found == original:
        return "the same"
    return f"{FAILED}: other contents" if kind.has_checksum else "valid"


# --- formats -------------------------------------------------------------------------------------


def _arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "observations": rng.normal(size=(3, 4, 2, 2)).astype(np.float32),
        "actions": rng.integers(3, size=(3, 4, 2)),
        "participation": np.array([[[1, 0], [0, 1], [1, 1], [1, 0]]] * 3, bool),
        "rewards": rng.normal(size=(3, 4, 2)).astype(np.float32),
    }


def _demonstrations() -> Demonstrations:
    arrays = _arrays()
    return Demonstrations.from_rounds(
        AGENTS,
        dict.fromkeys(AGENTS, Box(-9, 9, (2,))),
        dict.fromkeys(AGENTS, Discrete(3)),
        observations={agent: arrays["observations"][:, :, i] for i, agent in enumerate(AGENTS)},
        participation=arrays["participation"],
        actions=arrays["actions"],
        rewards=arrays["rewards"],
    )


def _contents(demonstrations: Demonstrations) -> dict[str, Any]:
    return {
        agent: {
            name: None if array is None else (array.dtype.str, array.shape, array.tobytes())
            for name, array in record.columns(slice(None)).items()
        }
        for agent, record in demonstrations.records.items()
    }


def _write_own(folder: Path) -> list[Path]:
    _demonstrations().save(folder / "valid.parquet")
    return [folder / "valid.parquet"]


def _write_npz(folder: Path) -> list[Path]:
    np.savez_compressed(folder / "valid.npz", agents=np.array(AGENTS), **_arrays())
    return [folder / "valid.npz"]


def _write_csv(folder: Path) -> list[Path]:
    lines = ["episode,round,agent,observation_0,observation_1,action,reward"]
    for agent, record in _demonstrations().records.items():
        for row in range(len(record)):
            seen = ",".join(f"{value:.4f}" for value in record.observation[row])
            action = record.action[row] if record.participates[row] else ""
            place = f"{record.episode[row]},{record.round[row]},{agent}"
            lines.append(f"{place},{seen},{action},{record.reward[row]:.4f}")
    (folder / "valid.csv").write_text("\n".join(lines) + "\n")
    return [folder / "valid.csv"]


def _write_pickle(folder: Path) -> list[Path]:
    arrays = _arrays()
    one_hot = np.eye(3)[arrays["actions"]]
    trajectories = [
        {
            "ob": [arrays["observations"][episode, :, i] for i in range(2)],
            "ac": [one_hot[episode, :, i] for i in range(2)],
            "rew": [arrays["rewards"][episode, :, i] for i in range(2)],
        }
        for episode in range(3)
    ]
    (folder / "valid.pkl").write_bytes(pickle.dumps(trajectories, protocol=2))
    return [folder / "valid.pkl"]


def _write_policy(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    shapes = {
        "encoder.actor_encoder.net.mlp.0.weight": (4, 2),
        "encoder.actor_encoder.net.mlp.0.bias": (4,),
        "pi.net.mlp.0.weight": (3, 4),
        "pi.net.mlp.0.bias": (3,),
    }
    saved = save_learned(
        folder / "policies",
        "a",
        {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
        kind="policy",
        observation_space=Box(-9, 9, (2,)),
        action_space=Discrete(3),
        model={"fcnet_hiddens": [4], "fcnet_activation": "tanh", "vf_share_layers": False},
        provenance={},
    )
    index = save_index(folder, {"a": "a"})
    return [saved, saved.with_suffix(".safetensors"), index]


def _read_policy(folder: Path) -> Any:
    policy = LearnedPolicy.load(folder if (folder / "learned.json").is_file() else folder.parent)
    observations = np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2)
    return {
        agent: policy.action_probabilities(agent, observations).tobytes() for agent in policy.agents
    }


def _reading(name: str, read: Callable[[Path], Demonstrations]) -> Callable[[Path], Any]:
    return lambda folder: _contents(read(folder / name))


FORMATS = (
    Format("demonstrations", _write_own, _reading("valid.parquet", Demonstrations.load), True),
    Format("policy", _write_policy, _read_policy, True),
    Format("npz", _write_npz, _reading("valid.npz", readers.read_npz), False),
    Format("csv", _write_csv, _reading("valid.csv", readers.read_csv), False),
    Format("pickle", _write_pickle, _reading("valid.pkl", readers.read_pickle), False),
)


# --- many of them ---------------------------------------------------------------------------------


def run_block(kind: Format, first: int, count: int) -> Counter[str]:
    """The outcomes of ``count`` cases from number ``first`` on."""
    with tempfile.TemporaryDirectory(dir=_memory()) as name:
        folder = Path(name)
        files = {path: path.read_bytes() for path in kind.write(folder)}
        original = kind.read(folder)
        return Counter(outcome(kind, original, first + i, files) for i in range(count))


def _memory() -> str | None:
    """A folder in memory, where there is one."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


class Block:
    """`run_block` in a process of its own, forked so that it need not import everything anew."""

    def __init__(self, kind: Format, block: int) -> None:
        context = multiprocessing.get_context("fork")
        self._outcomes, outcomes = context.Pipe(duplex=False)
        self._process = context.Process(target=self._run, args=(kind, block, outcomes))
        self._process.start()
        outcomes.close()  # the other process has it, and closes it when it dies

    @staticmethod
    def _run(kind: Format, block: int, outcomes: Connection) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        outcomes.send(dict(run_block(kind, block * BLOCK, BLOCK)))

    def finish(self) -> dict[str, int]:
        """A block's outcomes; a process that died is a failure of its own."""
        try:
            return self._outcomes.recv()
        except EOFError:
            self._process.join()
            return {f"{FAILED}: the process ended with code {self._process.exitcode}": 1}


def summarise(results: dict[str, Any]) -> str:
    """The counts in Markdown."""
    lines = [
        "# Damaged files",
        "",
        f"{results['machine']}; commit {results['commit']}. Made by "
        "`python benchmarks/corruptions.py`, which says what the columns mean.",
        "",
        "| format | cases | refused | read, the same | read, valid | failed |",
        "|---|---|---|---|---|---|",
    ]
    total: Counter[str] = Counter()
    for kind in FORMATS:
        blocks = results["blocks"].get(kind.name, {})
        found: Counter[str] = Counter()
        for counts in blocks.values():
            for word, number in counts.items():
                found[FAILED if word.startswith(FAILED) else word] += number
        total += found
        lines.append(_row(kind.name, found))
    return "\n".join([*lines, _row("all", total)]) + "\n"


def _row(name: str, found: Counter[str]) -> str:
    counts = [sum(found.values()), *(found[w] for w in ("refused", "the same", "valid", FAILED))]
    return f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def main() -> None:
    """Run the blocks that are missing, two at a time, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10**6, help="cases, over all formats")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks")
    chosen = parser.parse_args()
    machine, commit = describe_machine()
    path = chosen.output / "corruptions.json"
    results: dict[str, Any] = {"machine": machine, "commit": commit, "blocks": {}}
    if path.is_file():
        results = json.loads(path.read_text())
        if commit not in results["commit"]:
            results["commit"] += f", {commit}"
    chosen.output.mkdir(parents=True, exist_ok=True)
    wanted = [
        (kind, block)
        for block in range(-(-chosen.count // (BLOCK * len(FORMATS))))
        for kind in FORMATS
        if str(block) not in results["blocks"].get(kind.name, {})
    ]
    with Progress() as progress:
        for start in progress.track(range(0, len(wanted), chosen.workers), description="blocks"):
            running = [(*item, Block(*item)) for item in wanted[start : start + chosen.workers]]
            for kind, block, process in running:
                results["blocks"].setdefault(kind.name, {})[str(block)] = process.finish()
            path.write_text(json.dumps(results, indent=1) + "\n")
    (chosen.output / "corruptions.md").write_text(summarise(results))
    print(summarise(results))


if __name__ == "__main__":
    main()
