"""The console script: grammar, run files, and checks before anything starts."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
import ray

from rllib_amagail.cli.errors import CommandError
from rllib_amagail.cli.experiment import Experiment
from rllib_amagail.cli.main import main
from rllib_amagail.cli.parser import make_parser
from rllib_amagail.cli.plan import make_plan
from rllib_amagail.cli.run_files import load_experiments

GAME = "stochastic_cooperative_navigation"
SMALL: dict[str, Any] = {
    "reward_source": "environment",
    "num_envs_per_env_runner": 4,
    "train_batch_size_per_learner": 200,
    "minibatch_size": 50,
    "model_config": {"fcnet_hiddens": [16]},
}
ROOT = Path(__file__).parent.parent
FAILING = f"""
from rllib_amagail import AMAGAILConfig, TurnBasedEnv
from rllib_amagail.games.pettingzoo import ParallelGame

class Failing(TurnBasedEnv):
    def __init__(self, config):
        super().__init__(ParallelGame({GAME!r}))

    def step(self, actions):
        raise OverflowError("the motor broke")

config = AMAGAILConfig().environment(Failing).update_from_dict({SMALL!r})
stop = {{"training_iteration": 1}}
"""


def run(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``rllib words``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as exit_:  # argparse
            code = int(exit_.code or 0)
    return code, out.getvalue(), err.getvalue()


def small_experiment(**config: Any) -> Experiment:
    return Experiment(env=GAME, config={**SMALL, **config})


# --- grammar -------------------------------------------------------------------------------------


def test_train_takes_the_words_of_the_old_script() -> None:
    args = make_parser().parse_args(
        shlex.split(
            "train --run PPO -e CartPole-v1 -c '{\"lr\": 0.1}' -s '{\"training_iteration\": 3}' "
            "--experiment-name x --num-samples 2 --checkpoint-freq 5 --checkpoint-at-end "
            "--keep-checkpoints-num 3 --checkpoint-score-attr min-loss --local-dir here "
            "--restore C --resources-per-trial '{\"cpu\": 2}' --scheduler pbt "
            '--scheduler-config \'{"metric": "score"}\' --resume '
            "--ray-address auto --ray-num-cpus 4 --ray-num-gpus 0 -vv"
        )
    )
    assert vars(args) == {
        "command": "train",
        "run": "PPO",
        "env": "CartPole-v1",
        "config": {"lr": 0.1},
        "stop": {"training_iteration": 3},
        "name": "x",
        "num_samples": 2,
        "checkpoint_freq": 5,
        "checkpoint_at_end": True,
        "keep_checkpoints_num": 3,
        "checkpoint_score_attr": "min-loss",
        "storage_path": "here",
        "restore": "C",
        "resources_per_trial": {"cpu": 2},
        "scheduler": "pbt",
        "scheduler_config": {"metric": "score"},
        "resume": "",
        "ray_address": "auto",
        "ray_num_cpus": 4,
        "ray_num_gpus": 0,
        "verbosity": 2,
    }


def test_options_before_and_after_a_file_both_count() -> None:
    words = ["train", "--num-samples", "2", "--algo", "A", "file", "x.yaml", "--algo", "B"]
    args = make_parser().parse_args(words)
    assert (args.file, args.num_samples, args.run) == ("x.yaml", 2, "B")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("train -c {", "'{' is not JSON"),
        ("train -c 3", "'3' is not a JSON object"),
        ("evaluate C --episodes 0", "'0' is not a whole number >= 1"),
        ("evaluate C --episodes 1 --steps 1", "not allowed with argument"),
        ("evaluate --render C", "'C' does not end in .gif; the checkpoint goes before"),
        ("evaluate", "required: CHECKPOINT"),
    ],
)
def test_wrong_words_are_wrong_usage(words: str, complaint: str) -> None:
    code, _, err = run(*words.split())
    assert code == 2
    assert complaint in err


def test_version_help_and_list() -> None:
    assert run("--version")[1] == f"rllib_amagail 0.1.0, ray {ray.__version__}\n"
    assert "rllib train --algo AMAGAIL --env" in run("--help")[1]
    listed = run("list")[1].split()
    assert {"AMAGAIL", "PPO", GAME} <= set(listed)


# --- what is checked before anything starts ------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("", "no environment: give --env"),
        (f"-e {GAME} --algo AMAGIAL", "unknown algorithm 'AMAGIAL'; did you mean 'AMAGAIL'?"),
        ("-e stochastic_predator_pray", "did you mean 'stochastic_predator_prey'?"),
        ("-e nowhere:Game", "No module named 'nowhere'"),
        ("-e json:Game", "json has no class 'Game'"),
        (f"-e {GAME} --restore nowhere", "no checkpoint folder"),
        (f"-e {GAME} --num-samples 0", "num_samples is 0; expected >= 1"),
        (f'-e {GAME} -s {{"a":{{"b":1}}}}', "write nested keys as 'outer/inner'"),
        ("--resume", "--resume without DIR needs --experiment-name"),
        ("--resume .", "is not the folder of a run"),
        ('--resume . --stop {"a":1}', "leave out stop"),
        ("--ray-address auto --ray-num-cpus 2", "do not go with --ray-address"),
        ("file nowhere.yaml", "nowhere.yaml: no such file"),
    ],
)
def test_mistakes_give_one_line_and_exit_code_2(words: str, complaint: str) -> None:
    code, out, err = run("train", *words.split())
    assert (code, out) == (2, "")
    assert err.startswith("rllib: error: ")
    assert err.count("\n") == 1
    assert complaint in err


def test_verbose_shows_the_traceback() -> None:
    code, _, err = run("train", "-v", "-e", "nowhere:Game")
    assert code == 2
    assert "Traceback (most recent call last)" in err


@pytest.mark.parametrize(
    ("experiment", "complaint"),
    [
        (small_experiment(bc_step=3), "unknown config key 'bc_step'; did you mean 'bc_steps'"),
        (small_experiment(reward_form="gial"), "reward_form is 'gial'"),
        (small_experiment(env_config={"horizn": 3}), "no option 'horizn'"),
        (small_experiment(demonstrations="none.parquet", reward_source="zero"), "none.parquet"),
        (small_experiment(model={"fcnet_hiddens": [8]}), "use 'model_config'"),
        (small_experiment(lr={"grid_search": 0.1}), "expected a list of values"),
        (small_experiment(reward_form={"grid_search": ["gail", "gial"]}), "reward_form is 'gial'"),
        (Experiment(run="PPO", env="CartPole-v1", config={"lrr": 1}), "unknown config key 'lrr'"),
    ],
)
def test_configs_are_checked(experiment: Experiment, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        make_plan(experiment)


def test_the_plan_keeps_grids_and_completes_the_rest() -> None:
    grid = {"grid_search": [1e-3, 3e-4]}
    plan = make_plan(small_experiment(lr=grid, demonstrations="z.parquet", num_env_runners=2))
    assert plan.param_space["lr"] == grid
    assert plan.param_space["env"] == GAME
    assert plan.param_space["demonstrations"] == os.path.abspath("z.parquet")
    model = plan.param_space["_model_config"]
    assert (model["fcnet_hiddens"], model["fcnet_activation"]) == ([16], "tanh")
    assert plan.resources["CPU"] == 3  # the driver and two runners


def test_a_tuned_config_finds_the_recording_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if its file is named by a relative path: trials run in a folder of their own."""
    monkeypatch.chdir(ROOT)
    (experiment,) = load_experiments("tuned_configs/openspiel_leduc_poker.py")
    recording = ROOT / "tuned_configs" / "demonstrations" / "leduc_poker.parquet"
    assert make_plan(experiment).param_space["demonstrations"] == str(recording)


def test_resources_per_trial_reserve_more_but_never_less() -> None:
    settings = {**SMALL, "num_env_runners": 1}
    plan = make_plan(Experiment(env=GAME, config=settings, resources_per_trial={"cpu": 5}))
    assert plan.resources["CPU"] == 5
    with pytest.raises(CommandError, match="cpu is 1, but by its config a trial needs 2"):
        make_plan(Experiment(env=GAME, config=settings, resources_per_trial={"cpu": 1}))


def test_schedulers_maximise_the_score() -> None:
    plan = make_plan(small_experiment().with_options({"scheduler": "asha"}))
    assert (plan.scheduler.metric, plan.scheduler._mode) == ("score", "max")
    wrong = {"scheduler": "asha", "scheduler_config": {"max_tt": 9}}
    with pytest.raises(CommandError, match="no argument 'max_tt'; did you mean 'max_t'"):
        make_plan(small_experiment().with_options(wrong))


# --- run files -----------------------------------------------------------------------------------


def test_yaml_describes_experiments() -> None:
    Path("runs.yaml").write_text(
        f"one:\n  algo: AMAGAIL\n  env: {GAME}\n  stop: {{training_iteration: 3}}\n"
        "  config: {lr: 1e-3, gamma: 0.9}\n  local_dir: there\ntwo:\n  run: PPO\n"
    )
    one, two = load_experiments("runs.yaml")
    assert one == Experiment(
        env=GAME,
        stop={"training_iteration": 3},
        config={"lr": 0.001, "gamma": 0.9},
        storage_path="there",
        name="one",
    )
    assert (two.name, two.run) == ("two", "PPO")
    changed = one.with_options({"config": {"gamma": 0.5}, "stop": {"score": 1}})
    assert (changed.config, changed.stop) == ({"lr": 0.001, "gamma": 0.5}, {"score": 1})


def test_python_files_define_a_config() -> None:
    Path("one.py").write_text(FAILING)
    (experiment,) = load_experiments("one.py")
    assert experiment.stop == {"training_iteration": 1}
    assert experiment.algorithm().__name__ == "AMAGAIL"
    assert make_plan(experiment.with_options({"config": {"lr": 0.5}})).param_space["lr"] == 0.5
    with pytest.raises(CommandError, match="--algo does not go with a Python file"):
        experiment.with_options({"run": "PPO"})


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.txt", "", "expected a file that ends in"),
        ("a.yaml", "", "expected experiments .* found nothing"),
        ("a.yaml", "a: [", "cannot be read"),
        ("a.json", "{", "cannot be read"),
        ("a.json", '{"x": 3}', "experiment 'x' is 3; expected a mapping"),
        ("a.json", '{"x": {"stopp": {}}}', "unknown key 'stopp'; did you mean 'stop'"),
        ("a.json", '{"x": {"config": 3}}', "config is 3; expected mapping"),
        ("a.py", "1 / 0", "a.py failed: ZeroDivisionError: division by zero"),
        ("a.py", "config = {}", "expected an AlgorithmConfig .* found a dict"),
    ],
)
def test_bad_run_files(name: str, text: str, complaint: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(CommandError, match=complaint):
        load_experiments(name)


def test_a_folder_that_is_no_checkpoint_suggests_one_inside() -> None:
    Path("trial/checkpoint_000003").mkdir(parents=True)
    code, _, err = run("evaluate", "trial")
    assert code == 2
    assert err.endswith("did you mean " + os.path.abspath("trial/checkpoint_000003") + "?\n")
