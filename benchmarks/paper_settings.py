"""How every cell is run. Settings are changed here only; cells whose settings changed run anew."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from paper_cells import COMPETITIVE_GAME, VARIANTS, Cell

from rllib_amagail import AMAGAILConfig
from rllib_amagail.games.reference_scores import ReferenceScores, reference_scores

RECORDED_EPISODES = 1000
RECORDING_SEED = 0
# Of no training run, and that of the scale's two ends: both are measured in the same worlds.
EVALUATION_SEED = 2019

# Always written down. The others of `AMAGAILConfig.imitation` are when they are not the default's.
_WRITTEN_FIELDS = (
    "phi",
    "reward_source",
    "reward_form",
    "normalise_rewards",
    "discriminator_hiddens",
    "discriminator_lr",
    "discriminator_steps",
    "discriminator_batch_size",
    "gradient_penalty",
    "bc_steps",
    "bc_lr",
    "bc_batch_size",
    "bc_anchor",
    "value_only_iterations",
    "lr",
    "gamma",
    "lambda_",
    "num_epochs",
    "minibatch_size",
    "clip_param",
    "entropy_coeff",
    "train_batch_size_per_learner",
    "num_envs_per_env_runner",
    "model_config",
)
_DATA_FIELDS = ("demonstrations", "num_demonstrations")  # the cell tells them


@dataclass(frozen=True)
class Lengths:
    """How long everything takes.

    Attributes:
        iterations: adversarial ones after behaviour cloning, of 3,200 rounds each.
        scratch_iterations: those of methods that do not clone.
        bc_steps: Adam steps of behaviour cloning in the cooperative games.
        competitive_bc_steps: those in predator-prey, where dodging is hard to clone.
        episodes: of evaluation.
    """

    iterations: int
    scratch_iterations: int
    bc_steps: int
    competitive_bc_steps: int
    episodes: int


FULL_LENGTHS = Lengths(
    iterations=30,
    scratch_iterations=125,
    bc_steps=1000,
    competitive_bc_steps=3000,
    episodes=1000,
)
QUICK_LENGTHS = Lengths(
    iterations=5,
    scratch_iterations=10,
    bc_steps=300,
    competitive_bc_steps=600,
    episodes=200,
)


@dataclass(frozen=True)
class Settings:
    """What a cell is run with.

    Attributes:
        config: of the algorithm, demonstrations excepted.
        iterations: calls of `train` after behaviour cloning; 0 for behaviour cloning alone.
        episodes: of evaluation.
        recording: where the demonstrations come from.
    """

    config: AMAGAILConfig
    iterations: int
    episodes: int
    recording: Mapping[str, int] = field(
        default_factory=lambda: {"episodes": RECORDED_EPISODES, "seed": RECORDING_SEED}
    )

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without seed and data: what makes two runs of a cell comparable."""
        default, config = AMAGAILConfig(), self.config
        own = set(inspect.signature(AMAGAILConfig.imitation).parameters) - {"self", *_DATA_FIELDS}
        other = {k for k in own if getattr(config, k) != getattr(default, k)}
        scale = scale_of(str(config.env))
        described = {name: getattr(config, name) for name in sorted({*_WRITTEN_FIELDS, *other})}
        described |= {
            "iterations": self.iterations,
            "evaluation": {"episodes": self.episodes, "seed": EVALUATION_SEED},
            "recording": dict(self.recording),
            # Other experts are another scale, and other demonstrations.
            "scale": {"random": scale.random, "expert": scale.expert},
        }
        return json.loads(json.dumps(described))


def settings_of(cell: Cell, lengths: Lengths) -> Settings:
    """The settings of one cell: a few lines of difference between methods."""
    bc_steps = lengths.bc_steps
    if cell.game == COMPETITIVE_GAME:
        bc_steps = lengths.competitive_bc_steps
    iterations, lr = lengths.iterations, (1e-3, 5e-5)
    config = (
        AMAGAILConfig()
        .environment(cell.game)
        .imitation(bc_steps=bc_steps)
        .debugging(seed=cell.seed, log_level="ERROR")
    )
    method, changes = VARIANTS.get(cell.method, (cell.method, {}))
    match method:
        case "AMAGAIL":
            pass
        case "AMAGAIL_scratch":
            # Eight discriminator steps, not four: see search.md.
            config.imitation(bc_steps=0, value_only_iterations=0, discriminator_steps=8)
            iterations, lr = lengths.scratch_iterations, (2e-3, 1e-4)
        # Without the anchor: it would hold MAGAIL at the level of cloning with phi as an action.
        case "MAGAIL_chosen":
            config.imitation(phi="chosen", bc_anchor=0.0)
        case "MAGAIL_executed":
            config.imitation(phi="executed", bc_anchor=0.0)
        case "zero_reward":
            config.imitation(reward_source="zero")
        case "BC_phi":
            config.imitation(phi="chosen", reward_source="zero")
            iterations = 0
        case "BC_filtered":
            config.imitation(reward_source="zero")
            iterations = 0
    config.imitation(**changes)
    rounds = iterations * config.train_batch_size_per_learner
    config.training(lr=[[0, lr[0]], [rounds, lr[1]]] if iterations else lr[0])
    return Settings(config, iterations, lengths.episodes)


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that tell settings apart, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def scale_of(game: str) -> ReferenceScores:
    """What random players and experts score in a game of the paper."""
    scale = reference_scores(game)
    assert scale is not None, f"the package ships the scale of {game}"
    return scale
