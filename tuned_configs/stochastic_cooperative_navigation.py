"""AMAGAIL on stochastic cooperative navigation, from its bundled demonstrations.

rllib train file tuned_configs/stochastic_cooperative_navigation.py
"""

from rllib_amagail import AMAGAILConfig

config = AMAGAILConfig().environment("stochastic_cooperative_navigation").debugging(seed=0)

stop = {"training_iteration": 40}
