import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROMPT: tuple[str, ...]  # the columns of a row
BUDGET: tuple[str, ...]  # the columns of each budget in a row

def fill(
    table: Floats,
    budgets: NDArray[np.int64],
    codes: NDArray[np.intp],
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
    k3: Floats | None,
    correct_above: float,
    /,
) -> None: ...
def combine(
    operation: str,
    a_hi: float | Floats,
    a_lo: float | Floats,
    b_hi: float | Floats,
    b_lo: float | Floats,
    result: Floats,
    /,
) -> bool: ...
def merge(table: Floats, later: Floats, /) -> None: ...
def sum_lists(values: Floats, offsets: NDArray[np.int64], sums: Floats, /) -> None: ...
