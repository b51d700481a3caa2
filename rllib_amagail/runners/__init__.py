"""Env runners: worlds as arrays where possible, RLlib's own runner elsewhere."""
