"""How long to wait before a process that died is started again."""

FIRST_PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 30.0
HEALTHY_AFTER_SECONDS = 60.0


def failures_in_a_row(before: int, ran_seconds: float) -> int:
    """Return how many failures stand in a row once a process died that had run for `ran_seconds`."""
    return 1 if ran_seconds >= HEALTHY_AFTER_SECONDS else before + 1


def pause_seconds(failures: int) -> float:
    """Return the pause after the n-th failure in a row: half a second, doubling up to thirty."""
    doublings = min(max(failures - 1, 0), 16)  # bounded, so that the power never grows without need
    return float(min(FIRST_PAUSE_SECONDS * 2**doublings, PAUSE_SECONDS_MAX))
