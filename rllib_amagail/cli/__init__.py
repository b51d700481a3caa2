"""The console script ``rllib``: train, evaluate and list from a terminal."""
