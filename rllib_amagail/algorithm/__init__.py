"""The algorithm and its configuration."""
