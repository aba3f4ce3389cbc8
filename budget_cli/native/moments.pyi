import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

def fill(
    table: Floats,
    budgets: NDArray[np.int64],
    codes: NDArray[np.intp],
    reward: Floats,
    length: Floats | None,
    log_ratio: Floats | None,
    k3: Floats | None,
    /,
) -> None: ...
