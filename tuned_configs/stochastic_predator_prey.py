"""AMAGAIL on stochastic predator prey, from its bundled demonstrations.

The good agent's dodging is hard to clone from 200 episodes, so cloning takes more steps than in
the cooperative games.

    rllib train file tuned_configs/stochastic_predator_prey.py
"""

from rllib_amagail import AMAGAILConfig

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
