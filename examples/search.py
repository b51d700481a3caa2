"""Search settings of AMAGAIL with Ray Tune: successive halving, Optuna, or a population.

python examples/search.py --with optuna --num-samples 8
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining
from ray.tune.search.basic_variant import BasicVariantGenerator

from rllib_amagail.cli.best_trial import report_best_trial
from rllib_amagail.cli.progress import ProgressLines
from rllib_amagail.local_ray import start_local_ray
from rllib_amagail.search_spaces import imitation_search_space, mutations, stay_in_range

METRIC = "score"  # the true reward, of which training knows nothing


def with_asha(space: dict[str, Any], iterations: int) -> dict[str, Any]:
    """Random settings; half of the trials end early, then half of the others, and so on."""
    halving = ASHAScheduler(
        time_attr="training_iteration",
        metric=METRIC,
        mode="max",
        max_t=iterations,
        grace_period=min(5, iterations),  # at first only the baselines learn
        reduction_factor=2,
    )
    return {"search_alg": BasicVariantGenerator(random_state=0), "scheduler": halving}


def with_optuna(space: dict[str, Any], iterations: int) -> dict[str, Any]:
    """Settings that are likely to do better than those tried before."""
    try:
        import optuna
    except ImportError as error:
        raise SystemExit('Optuna is not installed: pip install "rllib_amagail[search]"') from error
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return {"search_alg": OptunaSearch(metric=METRIC, mode="max", seed=0)}


def with_pbt(space: dict[str, Any], iterations: int) -> dict[str, Any]:
    """The worst go on from the checkpoints of the best, with settings changed in flight."""
    population = PopulationBasedTraining(
        time_attr="training_iteration",
        metric=METRIC,
        mode="max",
        perturbation_interval=max(1, iterations // 3),
        hyperparam_mutations=mutations(space),
        custom_explore_fn=stay_in_range(space),
        synch=True,  # or those who wait for a core may wait for ever
    )
    return {"search_alg": BasicVariantGenerator(random_state=0), "scheduler": population}


def main(arguments: list[str] | None = None) -> dict[str, Any] | None:
    """Search; returns what `report_best_trial` wrote."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ways = {"asha": with_asha, "optuna": with_optuna, "pbt": with_pbt}
    parser.add_argument("--with", dest="way", choices=ways, default="asha")
    parser.add_argument("--env", default="stochastic_cooperative_navigation")
    parser.add_argument("--num-samples", type=int, default=4, help="trials")
    parser.add_argument("--iterations", type=int, default=12, help="of a trial")
    parser.add_argument("--output", type=Path, default=Path("search_results"))
    chosen = parser.parse_args(arguments)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # or Ray Tune prints boxes of its own
    start_local_ray(log_to_driver=False)

    space = imitation_search_space()
    # Few demonstrations, from which cloning alone does not give all.
    fixed = {"env": chosen.env, "num_demonstrations": 10, "bc_steps": 200, "log_level": "ERROR"}
    results = tune.Tuner(
        "AMAGAIL",
        param_space={**fixed, **space},
        tune_config=tune.TuneConfig(
            num_samples=chosen.num_samples,
            reuse_actors=True,
            **ways[chosen.way](space, chosen.iterations),
        ),
        run_config=tune.RunConfig(
            name=chosen.way,
            storage_path=str(chosen.output.resolve()),
            stop={"training_iteration": chosen.iterations},
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            callbacks=[ProgressLines(METRIC, (), every_result=False, searched=list(space))],
            verbose=0,
        ),
    ).fit()
    return report_best_trial(results, METRIC)


if __name__ == "__main__":
    main()
