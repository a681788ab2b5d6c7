"""Several published question sets in one evaluation that can be gone on with: a number a set, and their means."""
