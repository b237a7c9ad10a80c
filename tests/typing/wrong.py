"""Read by mypy only: each line below the function is an error."""

import gipc


def area(width: int, height: float) -> float:
    return width * height


executor = gipc.ProcessPoolExecutor()
executor.offload(area, "2", 3.0)
executor.offload(area, 2)
executor.offload(area, 2, 3.0, timeout="soon")
executor.offload(12)
text: str = executor.offload(area, 2, 3.0)
gipc.pipe()[0].put(1)
