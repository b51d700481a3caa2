"""Everything that a study found, assembled in a README with tables and plots."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from machine import describe_machine
from paper_cells import ALL_METHODS, COMPETITIVE_GAME, COOPERATIVE_GAMES, GAMES, Cell
from paper_cross_play import CrossPlay
from paper_plots import draw_curves, draw_figure_2
from paper_settings import settings_of
from paper_study import Findings, Study, paper_numbers
from paper_tables import normalised_table, score_table, seconds_table
from paper_targets import targets, targets_table
from rich.console import Console
from rich.progress import track

_CURVES_UP_TO = 200  # demonstrations


def write_report(study: Study, console: Console) -> Path:
    """Play the matches of table 1 that are missing, then write README.md and what it shows.

    Returns:
        The README.
    """
    study.output.mkdir(parents=True, exist_ok=True)
    findings = Findings.of(study)
    matches = CrossPlay(study, findings)
    matches.play_missing(partial(track, description="table 1", console=console))
    count = max(c for c in study.grid.extra_counts if c <= _CURVES_UP_TO)
    draw_figure_2(findings, study.output / "figure_2.png")
    draw_curves(findings, count, study.output / "learning_curves.png")
    _write_settings(study, findings)
    readme = study.output / "README.md"
    sections = [
        _header(study, findings),
        _targets(findings, matches),
        _cooperative(findings),
        _competitive(findings, matches),
        _curves(findings, count),
    ]
    readme.write_text("\n".join(sections))
    return readme


def _header(study: Study, findings: Findings) -> str:
    lines = findings.lines.values()
    machines = sorted({line["machine"] for line in lines})
    commits = sorted({line["commit"] for line in lines})
    command = f"python benchmarks/reproduce.py {study.arguments}".rstrip()
    return f"""# The paper's experiments

{len(findings.lines)} of {len(findings.cells)} cells are there. Made by `{command}`; an interrupted
run goes on where it stopped. Machine: {"; ".join(machines) or "–"}. Commits: {", ".join(commits)}.
Exact settings, versions and seeds are in [settings.json](settings.json), every run in
[results.jsonl](results.jsonl).

A score is the mean true return of the agents over {study.lengths.episodes:,} episodes of 50 rounds;
normalised, 0 is random play (in predator-prey: a random good agent) and 1 the experts. Each seed
learns from its own random choice of the
1,000 recorded expert episodes. {"–"} stands for a cell that is not there yet.

| method | what it is |
|---|---|
| AMAGAIL | the package's default: phi filtered, starts from behaviour cloning and stays near it |
| AMAGAIL_scratch | the same without any behaviour cloning |
| MAGAIL_chosen | phi is an ordinary action; the discriminator judges what the policy chose |
| MAGAIL_executed | the same, but it judges what the environment carried out |
| BC_phi | behaviour cloning with phi as an action, as the paper's |
| BC_filtered | behaviour cloning with phi filtered |
| zero_reward | the control: AMAGAIL with the discriminator's reward set to zero |

MAGAIL starts from BC_phi, without AMAGAIL's anchor, which would hold it at that level. Settings
were chosen on seeds that are not here ([search.md](../search.md)).
"""  # noqa: RUF001


def _targets(findings: Findings, matches: CrossPlay) -> str:
    table = targets_table(targets(findings, matches))
    return f"## What was to be reached\nMeans over the seeds that are there.\n\n{table}"


def _cooperative(findings: Findings) -> str:
    text = """## Figure 2: cooperative games

![Normalised score against expert episodes](figure_2.png)

Interquartile mean over seeds with 95 % stratified bootstrap intervals; dotted: the paper's means.
"""
    for game in COOPERATIVE_GAMES:
        origin = paper_numbers()["tables"][game]["origin"]
        text += f"""
## {origin}: {game.replace("_", " ")}
Score ± deviation over episodes, means over seeds. The paper's worlds and experts have another
scale.

{score_table(findings, game)}
Normalised, with the lowest and the highest seed:

{normalised_table(findings, game)}"""
    return text


def _competitive(findings: Findings, matches: CrossPlay) -> str:
    return f"""## Table 1: predator-prey
The good agent's return, mean over seeds with 95 % bootstrap intervals, {matches.demonstrations}
demonstrations. Adversaries want it low, the agent wants it high. Rows are adversaries, columns
agents.

{matches.table()}
The paper's pairs (its "Behavior Cloning" is BC_phi, its MAGAIL is taken for MAGAIL_chosen):

{matches.table_beside_paper()}
Both sides learned by one method, against each other:

{score_table(findings, COMPETITIVE_GAME)}"""


def _curves(findings: Findings, count: int) -> str:
    return f"""## Learning curves
{count} demonstrations, scores of the episodes played in training; cloning's seconds count.

![Score against rounds and seconds](learning_curves.png)

Mean seconds of learning on one core:

{seconds_table(findings)}"""


def _write_settings(study: Study, findings: Findings) -> None:
    grid = study.grid
    machine, commit = describe_machine()
    described = {
        "seeds": grid.seeds,
        "demonstrations": grid.counts,
        "demonstrations_of_extra_methods": grid.extra_counts,
        "report": {"machine": machine, "commit": commit},
        "cells": {
            "machines": sorted({line["machine"] for line in findings.lines.values()}),
            "commits": sorted({line["commit"] for line in findings.lines.values()}),
        },
        "settings": {
            game: {
                method: settings_of(
                    Cell(game, method, grid.counts[0], grid.seeds[0]), study.lengths
                ).to_dict()
                for method in ALL_METHODS
            }
            for game in GAMES
        },
    }
    (study.output / "settings.json").write_text(json.dumps(described, indent=1) + "\n")
