"""AMAGAIL on deterministic cooperative reaching, from its bundled demonstrations.

rllib train file tuned_configs/deterministic_cooperative_reaching.py
"""

from rllib_amagail import AMAGAILConfig

config = AMAGAILConfig().environment("deterministic_cooperative_reaching").debugging(seed=0)

stop = {"training_iteration": 40}
