"""How a weight changes over the iterations of self-play."""


def decayed(initial: float, decay: float, iteration: int) -> float:
    """λ_m = λ_0 · decay^(m−1) for iteration m = 1, 2, …: the weight of the distillation (formula 5)."""
    if iteration < 1:
        raise ValueError(f"iterations count from 1, not {iteration}")
    return initial * decay ** (iteration - 1)
