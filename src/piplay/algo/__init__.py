"""The method's formulas as functions on arrays and tensors; blind to games and engines.

They are numbered as in docs/method.md.
"""
