"""Environments: what is played in. Each supplies tools, tasks and, where it is known, the truth."""
