"""How often each kind of lesson comes: ``read``, ``check``, and what is written over some hops, with their number."""

from __future__ import annotations

Mixture = dict[str, float]
"""Relative frequencies."""

COPYING: Mixture = {"read": 6, "alone1": 2, "write1": 0.5, "write2": 1, "write3": 1, "true2": 0.5}
"""Copying: names, then whole turns."""
LOOKUP: Mixture = {
    "read": 18.0, "check": 5.0,
    "alone1": 3.0, "alone2": 2.5, "alone3": 2.0, "alone4": 1.5,
    "true1": 0.5, "true2": 1.0, "true3": 1.0, "true4": 1.0,
    "half2": 0.4, "half3": 0.5, "half4": 0.5,
    "foreign1": 0.3, "foreign2": 1.0, "foreign3": 0.8, "foreign4": 0.6,
    "false2": 0.3, "false3": 0.2, "none2": 0.2, "none3": 0.2,
    "examine1": 2.0, "examine2": 2.0, "examine3": 2.0, "examine4": 2.0,
    "answer1": 0.3, "answer2": 0.5, "answer3": 0.3,
    "write2": 0.3, "write3": 0.4, "write4": 0.6,
}  # fmt: skip
"""Finding a fact by its relation word, which comes only where it is asked densely: four times a passage."""
ROLES: Mixture = LOOKUP | {"read": 6.0}
"""What each role does, turn by turn."""
LANGUAGE_MODEL: Mixture = {
    "read": 1.5, "check": 0.7,
    "alone1": 3.0, "alone2": 2.0, "alone3": 1.0, "alone4": 0.3,
    "true1": 0.4, "true2": 3.0, "true3": 2.5, "true4": 0.8,
    "half2": 0.6, "half3": 0.8, "half4": 0.4,
    "foreign1": 0.4, "foreign2": 2.5, "foreign3": 1.5, "foreign4": 0.3,
    "false2": 0.4, "false3": 0.4, "none1": 0.2, "none2": 0.4, "none3": 0.3,
    "examine1": 1.2, "examine2": 1.2, "examine3": 0.8, "answer1": 0.6, "answer2": 0.6, "answer3": 0.3,
    "write2": 0.2, "write3": 0.2,
}  # fmt: skip
"""The same for a model that can read and copy."""

MIXTURES = {"copying": COPYING, "lookup": LOOKUP, "roles": ROLES, "language_model": LANGUAGE_MODEL}
