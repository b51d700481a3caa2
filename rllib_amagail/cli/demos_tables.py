"""Demonstrations as tables on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rllib_amagail.demonstrations import Demonstrations

_BAR_CELLS = 24
_MAX_CHOICES = 24  # bars of one component
_MAX_PARAMETERS = 600  # letters of a player function's; --json holds all
_MAX_VALUES = 6  # numbers of an observation in a row
_EIGHTHS = " ▏▎▍▌▋▊▉"


def info_tables(name: str, about: Mapping[str, Any], demonstrations: Demonstrations) -> Group:
    """What `summary` found, for people."""
    rounds = about["rounds"]
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold")
    facts.add_row("file", Text(name))
    facts.add_row("game", Text(about["game"] or "not named"))
    lengths = f"{rounds['min']:g} to {rounds['max']:g} an episode"
    facts.add_row("episodes", f"{about['episodes']:,}")
    facts.add_row("rounds", f"{rounds['total']:,} ({lengths})")
    if about["turns_kept_every"] > 1:
        facts.add_row("subsampled", f"one turn in {about['turns_kept_every']}")
    facts.add_row("turns by", Text(_player_function(about["player_function"])))
    if about["estimated_player_function"] not in (None, about["player_function"]):
        look = _player_function(about["estimated_player_function"])
        facts.add_row("turns look like", Text(look))
    if about["provenance"]:
        facts.add_row("origin", Text(json.dumps(about["provenance"], ensure_ascii=False)))
    parts: list[RenderableType] = [facts, "", _agents_table(about["agents"], demonstrations)]
    if any(one["actions"] for one in about["agents"].values()):
        parts += ["", _actions_table(about["agents"])]
    return Group(*parts)


def head_table(demonstrations: Demonstrations, rows: int | None, episodes: int | None) -> Table:
    """The first rows, or all rows of the first episodes, by episode and round."""
    found = []
    for order, (agent, record) in enumerate(demonstrations.records.items()):
        last = len(record) if rows is None else min(rows, len(record))
        if episodes is not None:
            last = int(np.searchsorted(record.episode, episodes))
        for k in range(last):
            key = (int(record.episode[k]), int(record.round[k]), order)
            found.append((key, agent, k))
    table = Table("episode", "round", "agent", "action", "reward", "observation")
    before = 0
    for (episode, round_, _), agent, k in sorted(found)[:rows]:
        if episode != before:
            table.add_section()
            before = episode
        record = demonstrations.records[agent]
        if not record.participates[k]:
            action, style = "φ", "dim"
        else:
            action, style = "-" if record.action is None else _numbers(record.action[k]), ""
        reward = "-" if record.reward is None else f"{record.reward[k]:.4g}"
        seen = _numbers(record.observation[k])
        table.add_row(str(episode), str(round_), Text(agent), action, reward, seen, style=style)
    return table


def make_console(file: Any = None) -> Console:
    """A console that does not break lines of tables when its output goes into a pipe."""
    console = Console(file=file, highlight=False)
    return console if console.is_terminal else Console(file=file, highlight=False, width=160)


def _player_function(description: Mapping[str, Any] | None) -> str:
    if description is None:
        return "not said"
    parameters = {n: _rounded(value) for n, value in description.items() if n != "type"}
    text = json.dumps(parameters)
    if len(text) > _MAX_PARAMETERS:
        text = f"{text[:_MAX_PARAMETERS]}..."
    return f"{description.get('type', '?')} {text}"


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 3) if isinstance(value, float) else value


def _agents_table(agents: Mapping[str, Any], demonstrations: Demonstrations) -> Table:
    table = Table("agent", title="Agents", title_justify="left")
    for title in ("rows", "turns", "φ share", "return", "lowest", "highest"):
        table.add_column(title, justify="right")
    table.add_column("observations")
    table.add_column("actions")
    for agent, one in agents.items():
        earned = one["return"]
        cells = ["-"] * 3
        if earned is not None:
            cells = [f"{earned['mean']:.2f} ± {earned['std']:.2f}"]
            cells += [f"{earned[name]:.2f}" for name in ("min", "max")]
        table.add_row(
            Text(agent),
            f"{one['rows']:,}",
            f"{one['turns']:,}",
            f"{one['phi_share']:.1%}",
            *cells,
            Text(str(demonstrations.observation_spaces[agent])),
            Text(str(demonstrations.action_spaces[agent])),
        )
    return table


def _actions_table(agents: Mapping[str, Any]) -> Table:
    table = Table("agent", "action", title="Actions", title_justify="left")
    table.add_column("share of turns", min_width=_BAR_CELLS + 9)
    for agent, one in agents.items():
        table.add_section()
        for number, component in enumerate(one["actions"] or ()):
            label = f"[{number}] " if len(one["actions"]) > 1 else ""
            name = agent if number == 0 else ""
            if "counts" not in component:
                spread = f"{component['mean']:.3g} ± {component['std']:.3g}"
                table.add_row(
                    Text(name),
                    f"component {number}",
                    f"{spread}, from {component['min']:.3g} to {component['max']:.3g}",
                )
                continue
            _add_bars(table, name, label, component)
    return table


def _add_bars(table: Table, agent: str, label: str, component: Mapping[str, Any]) -> None:
    counts = np.array(component["counts"])
    shares = counts / counts.sum()
    for choice in range(min(len(counts), _MAX_CHOICES)):
        value = component["first"] + choice
        bar = Text(f"{_bar(shares[choice])} {shares[choice]:6.1%}")
        bar.stylize("cyan", 0, _BAR_CELLS)
        table.add_row(Text(agent if choice == 0 else ""), Text(f"{label}{value}"), bar)
    if len(counts) > _MAX_CHOICES:
        rest = f"{shares[_MAX_CHOICES:].sum():.1%} in {len(counts) - _MAX_CHOICES} more"
        table.add_row("", "...", rest)


def _bar(share: float) -> str:
    """A bar of `share` of the cells, exact to an eighth of a cell."""
    whole, part = divmod(round(share * _BAR_CELLS * 8), 8)
    return ("█" * whole + _EIGHTHS[part] * (part > 0)).ljust(_BAR_CELLS)


def _numbers(values: np.ndarray | Sequence[float]) -> str:
    flat = np.ravel(values)
    text = " ".join(f"{value:.4g}" for value in flat[:_MAX_VALUES])
    return text if len(flat) <= _MAX_VALUES else f"{text} ... ({len(flat)})"
