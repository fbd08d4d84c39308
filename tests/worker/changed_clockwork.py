"""The clockwork engine with another model card: that of the environment's CLOCKWORK_CARD, in JSON, over its own."""

import json
import os
import sys

from tests.chaos import clockwork_engine

if __name__ == "__main__":
    changes = json.loads(os.environ["CLOCKWORK_CARD"])
    clockwork_engine.CARD = clockwork_engine.CARD.model_copy(update=changes)
    sys.exit(clockwork_engine.main())
