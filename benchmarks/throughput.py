"""Throughput of rollouts and iterations, side by side with RLlib's own.

    python benchmarks/throughput.py                    # about a quarter of an hour
    python benchmarks/throughput.py --quick            # two minutes
    python benchmarks/throughput.py --repeats 3 --json /tmp/look.json --output /tmp

Writes throughput.json and throughput.md, with --quick throughput_quick.json and .md. What was
measured is kept when a run is interrupted.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import describe_machine
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from throughput_report import Section, to_console, to_json, to_markdown
from throughput_sections import FULL, QUICK, Measure, Plan, measure, new_sections

import rllib_amagail
from rllib_amagail.cli.session import ray_session

# No section of a quick run begins later than this: two minutes are two minutes on any machine.
QUICK_SECONDS = 100.0
NUM_CPUS = 4  # that Ray is told of: two runners or learners must fit, whatever the machine
console = Console()


class Report:
    """The files of a run, written anew after every section.

    Args:
        json_path, markdown_path: the files.
        command: that made them.
        repeats: of every contender.
    """

    def __init__(self, json_path: Path, markdown_path: Path, command: str, repeats: int) -> None:
        self._json_path, self._markdown_path = json_path, markdown_path
        machine, commit = describe_machine()
        self._header: dict[str, Any] = {
            "machine": machine,
            "commit": commit,
            "command": command,
            "repeats": repeats,
        }
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the beginning of the run."""
        return time.monotonic() - self._began

    def write(self, sections: Sequence[Section], complete: bool) -> None:
        """All sections so far."""
        header = self._header | {"complete": complete, "seconds": round(self.seconds, 1)}
        for path in (self._json_path, self._markdown_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._json_path.write_text(json.dumps(to_json(header, sections), indent=1) + "\n")
        self._markdown_path.write_text(to_markdown(header, sections))


def run(
    plan: Plan,
    sections: Sequence[tuple[Measure, Section]],
    report: Report,
    deadline: float = float("inf"),
) -> bool:
    """Measure section by section; False if the user interrupted.

    Args:
        plan: how much.
        sections: what fills a table, and the table.
        report: written after every section.
        deadline: seconds of the report after which no section is begun.
    """
    tables = [section for _, section in sections]
    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    complete = False
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=len(sections) * (plan.repeats + 1))
            for index, (fill, section) in enumerate(sections):
                progress.update(task, description=section.title)
                if report.seconds > deadline:
                    section.note = "Left out: the time was up."
                    continue
                began = report.seconds
                with ExitStack() as stack:
                    contenders = fill(plan, section, stack)
                    progress.advance(task)
                    for _ in measure(section, contenders, plan.repeats):
                        progress.advance(task)
                section.seconds = report.seconds - began
                progress.update(task, completed=(index + 1) * (plan.repeats + 1))
                report.write(tables, complete=False)
        complete = True
    except KeyboardInterrupt:
        console.print("Interrupted; what was measured is kept.")
    report.write(tables, complete)
    return complete


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure everything, write the files, show the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: two minutes")
    parser.add_argument("--repeats", type=int, help="of every contender (5, with --quick 3)")
    parser.add_argument("--json", type=Path, help="where the JSON goes")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="a folder")
    chosen = parser.parse_args(arguments)
    plan = QUICK if chosen.quick else FULL
    if chosen.repeats is not None:
        if chosen.repeats < 1:
            parser.error(f"--repeats is {chosen.repeats}, expected at least 1")
        plan = replace(plan, repeats=chosen.repeats)
    stem = "throughput_quick" if chosen.quick else "throughput"
    given = shlex.join(sys.argv[1:] if arguments is None else arguments)
    report = Report(
        chosen.json or chosen.output / f"{stem}.json",
        chosen.output / f"{stem}.md",
        f"python benchmarks/throughput.py {given}".strip(),
        plan.repeats,
    )
    sections = new_sections()
    torch.set_num_threads(1)
    with ray_session(num_cpus=NUM_CPUS):
        rllib_amagail.register()
        complete = run(plan, sections, report, QUICK_SECONDS if chosen.quick else float("inf"))
    to_console([section for _, section in sections], console.print)
    sys.exit(0 if complete else 130)


if __name__ == "__main__":
    main()
