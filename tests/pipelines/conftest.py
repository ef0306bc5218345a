"""PyLops beside CuPy: it imports the GPU half of CuPy, which fails where there is no GPU."""

from __future__ import annotations

import os

os.environ.setdefault("CUPY_PYLOPS", "0")
