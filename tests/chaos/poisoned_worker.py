"""`python -m tests.chaos.poisoned_worker MODULE`: a real worker whose engine process is a module of the tests."""

import functools
import sys

from worker.engine_client import EngineClient
from worker.main import main

if __name__ == "__main__":
    sys.exit(main(functools.partial(EngineClient, sys.argv[1])))
