"""What is measured of a run: the numbers of a step, and exact match between phases."""
