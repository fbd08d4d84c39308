"""Measurements: each a command that prints a short table and one JSON line."""
