"""Demonstrations as one picture: returns, actions, who acted when, and what was seen."""

from __future__ import annotations

import os
import uuid
from typing import Any

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from rllib_amagail.cli.demos_summary import action_counts, returns
from rllib_amagail.demonstrations import AgentRecord, Demonstrations
from rllib_amagail.spaces import ActionLayout

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195", "#8C8C8C")
_ACTION_COLOURS = (
    "#44546A",
    "#4C9FC9",
    "#79C5A0",
    "#F0B849",
    "#D8604A",
    "#9A6FB0",
    "#B7C46A",
    "#E59BB4",
)
_INK, _FAINT, _PHI, _PAPER = "#22303C", "#8796A5", "#E9EDF1", "#FFFFFF"
_MAX_AGENTS = 8  # more would not be told apart
_RASTER_EPISODES = 3
_RASTER_ROUNDS = 120  # of an episode
_MAX_CHOICES = 12  # bars or colours; the rest is not drawn
_MAX_ROWS = 100_000  # of an agent's observations, evenly spaced


def draw(demonstrations: Demonstrations, title: str, path: str) -> None:
    """Write the picture as PNG, in one step: `path` never holds half of it.

    Args:
        demonstrations: what to draw; of many agents the first eight.
        title: what is drawn, such as the file's name.
        path: where to.

    Raises OSError if it cannot be written.
    """
    agents = demonstrations.agents[:_MAX_AGENTS]
    panels = min(len(agents), 4)
    rows_of_panels = -(-len(agents) // panels)
    raster = 0.5 + 0.26 * len(agents) * min(_RASTER_EPISODES, demonstrations.num_episodes)
    heights = [2.7, raster, *[1.7] * rows_of_panels]
    gap, bottom, header = 0.85, 0.55, 1.15  # inches, as the heights
    height = sum(heights) + gap * (len(heights) - 1) + bottom + header
    figure = Figure(figsize=(12, height), dpi=130, facecolor=_PAPER)
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        hspace=gap * len(heights) / sum(heights),
        left=0.085,
        right=0.975,
        bottom=bottom / height,
        top=1 - header / height,
    )
    _write_title(figure, demonstrations, title)
    upper = grid[0].subgridspec(1, 2, wspace=0.16)
    with matplotlib.rc_context(_style()):
        _draw_returns(figure.add_subplot(upper[0]), demonstrations, agents)
        _draw_actions(figure.add_subplot(upper[1]), demonstrations, agents)
        _draw_raster(figure, grid[1], demonstrations, agents)
        for row in range(rows_of_panels):
            columns = grid[2 + row].subgridspec(1, panels, wspace=0.22)
            for column, agent in enumerate(agents[row * panels : (row + 1) * panels]):
                axes = figure.add_subplot(columns[column])
                colour = _COLOURS[row * panels + column]
                _draw_observations(axes, demonstrations.records[agent], agent, colour)
                if column == 0:
                    axes.set_ylabel("observation:\nmedian, 90 %, range")
    _save(figure, path)


def _style() -> Any:
    return {
        "axes.edgecolor": _FAINT,
        "axes.labelcolor": _INK,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": _INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 10.5,
        "axes.titleweight": "bold",
        "axes.labelsize": 9,
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "xtick.color": _INK,
        "xtick.labelsize": 8.5,
        "ytick.color": _INK,
        "ytick.labelsize": 8.5,
    }


def _write_title(figure: Figure, demonstrations: Demonstrations, title: str) -> None:
    turns = sum(record.num_turns for record in demonstrations.records.values())
    rows = sum(map(len, demonstrations.records.values()))
    facts = [
        f"{demonstrations.num_episodes:,} episodes",
        f"{demonstrations.episode_lengths().sum():,} rounds",
        f"{turns:,} turns",
        f"φ in {1 - turns / rows:.0%} of the rows",
    ]
    if demonstrations.player_function is not None:
        facts.append(str(demonstrations.player_function.get("type")).replace("_", " "))
    if len(demonstrations.agents) > _MAX_AGENTS:
        facts.append(f"the first {_MAX_AGENTS} of {len(demonstrations.agents)} agents")
    height = figure.get_figheight()
    name = demonstrations.game or title
    figure.text(0.085, 1 - 0.42 / height, name, size=17, weight="bold", color=_INK)
    figure.text(0.085, 1 - 0.68 / height, "   ·   ".join(facts), size=10, color=_FAINT)
    if name != title:
        figure.text(0.975, 1 - 0.42 / height, title, size=10, color=_FAINT, ha="right")


def _draw_returns(axes: Any, demonstrations: Demonstrations, agents: tuple[str, ...]) -> None:
    axes.set_title("Returns of the episodes")
    earned = [returns(demonstrations.records[a], demonstrations.num_episodes) for a in agents]
    known = [values for values in earned if values is not None]
    if not known:
        _say(axes, "rewards were not recorded")
        return
    edges = np.histogram_bin_edges(np.concatenate(known), bins=30)
    for values, agent, colour in zip(known, agents, _COLOURS, strict=False):
        options = {"bins": edges, "color": colour}
        axes.hist(values, alpha=0.22, **options)
        axes.hist(values, histtype="step", lw=1.4, label=agent, **options)
        axes.axvline(values.mean(), color=colour, ls=":", lw=1.3)
    axes.set_xlabel("sum of an agent's rewards (dotted: mean)")
    axes.set_ylabel("episodes")
    axes.legend(ncols=1 + len(agents) // 5)


def _draw_actions(axes: Any, demonstrations: Demonstrations, agents: tuple[str, ...]) -> None:
    """Bars of choices; of the first component if there are several, boxes of Box actions."""
    axes.set_title("Actions, share of turns")
    records = [demonstrations.records[agent] for agent in agents]
    if any(record.action is None or not record.num_turns for record in records):
        _say(axes, "actions were not recorded")
        return
    layouts = [ActionLayout.from_space(demonstrations.action_spaces[agent]) for agent in agents]
    if not all(layout.sizes for layout in layouts):
        _draw_continuous_actions(axes, records, agents)
        return
    width = 0.8 / len(agents)
    for index, (record, layout) in enumerate(zip(records, layouts, strict=True)):
        counts = action_counts(record, layout)[0]
        shares = counts[:_MAX_CHOICES] / counts.sum()
        places = np.arange(len(shares)) + (index - (len(agents) - 1) / 2) * width
        axes.bar(places, shares, width * 0.92, color=_COLOURS[index])
    most = max(min(layout.sizes[0], _MAX_CHOICES) for layout in layouts)
    first = {int(layout.low[0]) for layout in layouts}
    start = first.pop() if len(first) == 1 else 0
    axes.set_xticks(range(most), [str(start + choice) for choice in range(most)])
    several = any(len(layout.sizes) > 1 for layout in layouts)
    name = "action, first component" if several else "action"
    cut = max(layout.sizes[0] for layout in layouts) > most
    axes.set_xlabel(f"{name} (the first {most} choices)" if cut else name)
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    axes.grid(axis="y", alpha=0.25)
    axes.set_axisbelow(True)


def _draw_continuous_actions(
    axes: Any, records: list[AgentRecord], agents: tuple[str, ...]
) -> None:
    axes.set_title("Actions: median, half and 95 % of the turns")
    labels, place = [], 0
    for record, agent, colour in zip(records, agents, _COLOURS, strict=False):
        assert record.action is not None
        acted = record.action[record.participates].reshape(record.num_turns, -1)
        for component, values in enumerate(acted.T[:_MAX_CHOICES]):
            low, lower, middle, upper, high = np.percentile(values, (2.5, 25, 50, 75, 97.5))
            axes.plot([place, place], [low, high], color=colour, lw=1.6, solid_capstyle="round")
            axes.plot([place, place], [lower, upper], color=colour, lw=7, alpha=0.45)
            axes.plot(place, middle, "o", color=colour, ms=5, mec=_PAPER)
            labels.append(f"{agent}\n[{component}]" if component == 0 else f"[{component}]")
            place += 1
    axes.set_xticks(range(place), labels)
    axes.grid(axis="y", alpha=0.25)


def _draw_raster(
    figure: Figure, place: Any, demonstrations: Demonstrations, agents: tuple[str, ...]
) -> None:
    """Who acted when, in colours of the actions; pale where an agent did not participate."""
    episodes = min(_RASTER_EPISODES, demonstrations.num_episodes)
    lengths = demonstrations.episode_lengths()[:episodes]
    rounds = int(min(lengths.max(), _RASTER_ROUNDS))
    choices = _choices(demonstrations, agents)
    colours = ListedColormap([_PAPER, _PHI, *_action_colours(choices)])
    column = place.subgridspec(episodes, 1, hspace=0.18)
    for episode in range(episodes):
        axes = figure.add_subplot(column[episode])
        cells = np.zeros((len(agents), rounds), int)
        for index, agent in enumerate(agents):
            _fill_cells(cells[index], demonstrations, agent, episode, choices)
        axes.pcolormesh(
            np.arange(rounds + 1) - 0.5,
            np.arange(len(agents) + 1) - 0.5,
            cells,
            cmap=colours,
            vmin=-0.5,
            vmax=colours.N - 0.5,
            edgecolors=_PAPER,
            linewidth=0.6,
        )
        axes.invert_yaxis()
        axes.set_yticks(range(len(agents)), agents)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.text(
            1.004,
            0.5,
            f"episode {episode}",
            transform=axes.transAxes,
            rotation=270,
            va="center",
            size=8,
            color=_FAINT,
        )
        if episode < episodes - 1:
            axes.set_xticks([])
        if episode == 0:
            axes.set_title("Who acted when", pad=8)
            _draw_key(axes, colours, choices)
    axes.set_xlabel("round" if rounds == lengths.max() else f"round (the first {rounds})")


def _choices(demonstrations: Demonstrations, agents: tuple[str, ...]) -> int:
    """How many colours the actions take: one for all if they are no choices, or too many."""
    layouts = [ActionLayout.from_space(demonstrations.action_spaces[agent]) for agent in agents]
    single = all(len(layout.sizes) == 1 for layout in layouts) and demonstrations.has_actions
    most = max(layout.sizes[0] for layout in layouts) if single else 1
    return most if most <= _MAX_CHOICES else 1


def _action_colours(choices: int) -> list[Any]:
    if choices == 1:
        return [_ACTION_COLOURS[1]]
    if choices <= len(_ACTION_COLOURS):
        return list(_ACTION_COLOURS[:choices])
    palette = matplotlib.colormaps["turbo"]
    return [palette(0.08 + 0.84 * k / (choices - 1)) for k in range(choices)]


def _fill_cells(
    cells: np.ndarray, demonstrations: Demonstrations, agent: str, episode: int, choices: int
) -> None:
    """Write 0 for no row, 1 for phi, 2 and on for actions into the rounds of `cells`."""
    record = demonstrations.records[agent]
    first, last = np.searchsorted(record.episode, [episode, episode + 1])
    own = np.arange(first, last)[record.round[first:last] < len(cells)]
    codes = np.where(record.participates[own], 2, 1)
    if choices > 1 and record.action is not None:
        low = int(ActionLayout.from_space(demonstrations.action_spaces[agent]).low[0])
        acted = record.participates[own]
        codes[acted] += record.action[own][acted] - low
    cells[record.round[own]] = codes


def _draw_key(axes: Any, colours: ListedColormap, choices: int) -> None:
    names = ["φ", *(["acts"] if choices == 1 else [f"{choice}" for choice in range(choices)])]
    for index, name in enumerate(names):
        axes.plot([], [], "s", ms=8, color=colours(index + 1), label=name)
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=len(names),
        handletextpad=0.1,
        columnspacing=1.0,
        borderaxespad=0.2,
    )


def _draw_observations(axes: Any, record: AgentRecord, agent: str, colour: str) -> None:
    """Of every feature the median, 90 % of the rows, and the range."""
    axes.set_title(f"{agent}   φ {record.phi_share:.0%}", color=colour)
    axes.set_xlabel("feature")
    if not len(record):
        _say(axes, "no rows")
        return
    seen = record.observation[:: -(-len(record) // _MAX_ROWS)]
    low, lower, middle, upper, high = np.percentile(seen, (0, 5, 50, 95, 100), axis=0)
    features = np.arange(seen.shape[1] + 1) - 0.5
    options = {"step": "post", "color": colour, "lw": 0}
    for bottom, top, alpha in ((low, high, 0.16), (lower, upper, 0.35)):
        ends = (np.append(edge, edge[-1]) for edge in (bottom, top))
        axes.fill_between(features, *ends, alpha=alpha, **options)
    axes.step(features, np.append(middle, middle[-1]), where="post", color=colour, lw=1.5)
    axes.set_xlim(features[0], features[-1])
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True, nbins=8))
    axes.grid(axis="y", alpha=0.25)


def _say(axes: Any, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", va="center", color=_FAINT, transform=axes.transAxes)
    axes.set_xticks([])
    axes.set_yticks([])


def _save(figure: Figure, path: str) -> None:
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    try:
        figure.savefig(temporary, format="png")
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
