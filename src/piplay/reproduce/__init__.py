"""Experiments of many runs, as data: arms that differ in some settings, seeds, starts, and what is claimed of them."""
