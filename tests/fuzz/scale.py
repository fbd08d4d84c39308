"""How much is tried: `make test` a little, `make fuzz` ten times as much. FUZZ_CASES counts HTTP requests."""

import os

from hypothesis import settings

CASES = int(os.environ.get("FUZZ_CASES", "1000"))
FEW = 1000


def tries(examples: int) -> settings:
    """So many examples in `make test`, in proportion more in `make fuzz`."""
    return settings(max_examples=examples * max(CASES, FEW) // FEW, deadline=None)
