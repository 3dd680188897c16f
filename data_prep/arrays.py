"""What arrays hold, for annotations. Docstrings give their shapes, and the precision where it matters."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Ints: TypeAlias = NDArray[np.integer[Any]]
Complexes: TypeAlias = NDArray[np.complexfloating[Any, Any]]
Bools: TypeAlias = NDArray[np.bool_]
Strings: TypeAlias = NDArray[np.str_]
