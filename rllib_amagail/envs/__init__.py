"""Environments in which only some agents act in a round."""
