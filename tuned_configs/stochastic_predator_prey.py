"""AMAGAIL on stochastic predator prey, from its bundled demonstrations.

rllib train file tuned_configs/stochastic_predator_prey.py
"""

from rllib_amagail import AMAGAILConfig

config = AMAGAILConfig().environment("stochastic_predator_prey").debugging(seed=0)

stop = {"training_iteration": 40}
