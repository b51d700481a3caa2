"""Imports go down the layers of docs/design.md only, and the lower two do not know Ray."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rllib_amagail"

# The longest matching prefix decides. `__init__` is the public face and may import everything.
LAYERS = {
    "adversarial": 0,
    "advantages": 0,
    "kfac": 0,
    "running_moments": 0,
    "actor_errors": 2,
    "past_turns": 1,
    "player_functions": 0,
    "value_player_function": 0,
    "logistic_participation": 0,
    "action_modes": 0,
    "turn_estimation": 0,
    "turn_estimation_by_state": 0,
    "turn_sampler": 0,
    "spaces": 1,
    "space_json": 1,
    "demonstrations": 1,
    "games": 1,
    "evaluation": 1,
    "correlations": 0,
    "deployment": 1,
    "judge": 1,
    "learned_files": 1,
    "learned_modules": 1,
    "learned_policy": 1,
    "learned_reward": 1,
    "observation_rows": 1,
    "row_encoder": 1,
    "experts": 1,
    "equilibrium": 1,
    "openspiel": 1,
    "envs": 2,
    "runners": 2,
    "learner": 2,
    "local_ray": 2,
    "recorded_episodes": 2,
    "recording": 2,
    "testing": 2,
    "algorithm": 3,
    "registration": 3,
    "search_spaces": 3,
    "cli": 4,
}
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def layer_of(module: str) -> int:
    """The layer of a dotted name below the package."""
    found = [name for name in LAYERS if module == name or module.startswith(name + ".")]
    assert found, f"{module} has no layer: add it to LAYERS and to docs/design.md"
    return LAYERS[max(found, key=len)]


def imported_names(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} has a relative import"
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = layer_of(".".join(part for part in parts if part != "__init__"))
    for name in imported_names(path):
        if name.startswith("rllib_amagail."):
            imported = layer_of(name.removeprefix("rllib_amagail."))
            assert imported <= own, f"layer {own} imports {name} of layer {imported}"
        assert own > 1 or name.split(".")[0] != "ray", f"layer {own} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= 355
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= 65, f"{node.name} has {lines} lines"
