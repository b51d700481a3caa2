"""AMAGAIL on stochastic cooperative navigation, from its bundled demonstrations.

rllib train file tuned_configs/stochastic_cooperative_navigation.py
"""

from rllib_amagail import AMAGAILConfig
from rllib_amagail.search_spaces import imitation_search_space

config = AMAGAILConfig().environment("stochastic_cooperative_navigation").debugging(seed=0)

stop = {"training_iteration": 40}
# Mean over 1,000 episodes of the learned policies: 0 is random play, 1 the experts.
expected = {"normalised_score": 0.99}

# What `--search-alg` and `--scheduler pbt` search (docs/tuning.md).
search_space = imitation_search_space()
