"""AMAGAIL on deterministic cooperative reaching, from its bundled demonstrations.

rllib train file tuned_configs/deterministic_cooperative_reaching.py
"""

from rllib_amagail import AMAGAILConfig

config = AMAGAILConfig().environment("deterministic_cooperative_reaching").debugging(seed=0)

stop = {"training_iteration": 40}
# Mean over 1,000 episodes of the learned policies: 0 is random play, 1 the experts.
expected = {"normalised_score": 0.99}
