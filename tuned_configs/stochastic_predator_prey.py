"""AMAGAIL on stochastic predator prey, from its bundled demonstrations.

The good agent's dodging is hard to clone from 200 episodes, so cloning takes more steps than in
the cooperative games.

    rllib train file tuned_configs/stochastic_predator_prey.py
"""

from ray import tune

from rllib_amagail import AMAGAILConfig
from rllib_amagail.search_spaces import imitation_search_space

config = (
    AMAGAILConfig()
    .environment("stochastic_predator_prey")
    .imitation(bc_steps=6000)
    .debugging(seed=0)
)

stop = {"training_iteration": 40}

# The good agent's return in 1,000 episodes of the learned policies against each other: 0 is a
# random good agent among expert adversaries, 1 the experts among themselves. Weaker adversaries
# raise it, a weaker good agent lowers it; table 1 of benchmarks/paper/README.md tells them apart.
expected = {"normalised_score": 1.03}

# What `--search-alg` and `--scheduler pbt` search (docs/tuning.md).
# This game
# wants more of its discriminators, held smoother; without an anchor the good agent leaves the area.
search_space = imitation_search_space(
    discriminator_steps=tune.randint(4, 17),
    gradient_penalty=tune.loguniform(0.02, 2.0),
    bc_anchor=tune.loguniform(0.3, 10.0),
)
