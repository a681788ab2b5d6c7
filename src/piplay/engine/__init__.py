"""Generating, scoring and training over named policies, behind one protocol."""
