"""A command of ours imports neither pandas nor scipy nor cffi, and they are there for who asks for them."""

import importlib.util
import subprocess
import sys

import pytest

LEAN = """
import sys
from curate.lean import lean
lean()
import pyarrow as pa
pa.array(["a text"])
assert not {"pandas", "scipy", "cffi"} & sys.modules.keys()
"""
ASKED = """
assert list(pa.table({"a": [1]}).to_pandas()["a"]) == [1]
import numba, numpy as np
assert numba.njit(lambda a: np.dot(a, a))(np.eye(2)).sum() == 2
"""


@pytest.mark.slow
def test_what_arrow_and_numba_look_for_is_not_imported():
    both = all(importlib.util.find_spec(name) for name in ("pandas", "scipy"))
    subprocess.run([sys.executable, "-c", LEAN + (ASKED if both else "")], check=True)
