"""How long tests run that could go on for ever."""

import os


def soak_seconds(seconds: float) -> float:
    """``seconds``, or what the environment's ONLOOKER_SOAK_SECONDS says."""
    return float(os.environ.get("ONLOOKER_SOAK_SECONDS", seconds))
