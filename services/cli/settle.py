"""Wait until the pipeline has done everything there was to do: `settle`, and what `run` and `demo` wait with."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.cli.options import DataDir, Json, TimeoutSeconds
from services.cli.output import console, errors, print_json
from shared.errors import Outstanding

if TYPE_CHECKING:
    from services.cli.connect import Stack

POLL_SECONDS = 0.1
NAMED_MAX = 10  # outstanding items that a message lists


@dataclass(frozen=True)
class Backlog:
    """What is unfinished: objects by status, and change sets that gold has not taken in under `gold`."""

    counts: Mapping[str, int]

    @property
    def moving(self) -> int:
        """What workers will finish by themselves."""
        return sum(self.counts.get(name, 0) for name in ("registered", "processing", "gold"))

    @property
    def stuck(self) -> int:
        """What needs a person, or a retry much later."""
        return sum(self.counts.get(name, 0) for name in ("held", "failed"))

    def sentence(self) -> str:
        """Say what is left, in words."""
        words = {"gold": "change sets waiting for gold"}
        parts = [f"{count:,} {words.get(name, name)}" for name, count in sorted(self.counts.items()) if count]
        return ", ".join(parts) or "nothing"


def wait_until_settled(
    stack: "Stack",
    timeout_seconds: float,
    datasets: Sequence[str] | None = None,
    on_progress: Callable[[Backlog], None] = lambda _: None,
) -> Backlog:
    """Wait until nothing moves any more and return what is stuck; raises Outstanding on timeout, Unavailable."""
    deadline = time.monotonic() + timeout_seconds
    query, parameters = stack.query("outstanding"), {"datasets": list(datasets) if datasets else None}
    with stack.session("settle") as session:
        while True:
            backlog = Backlog(dict(session.rows(query, parameters)))
            session.rollback()
            on_progress(backlog)
            if not backlog.moving:
                return backlog
            if time.monotonic() >= deadline:
                what = f"not settled after {timeout_seconds:g} s; outstanding: {backlog.sentence()}"
                raise Outstanding("\n".join([what, *_named(stack, datasets), *idle_workers(stack)]))
            time.sleep(POLL_SECONDS)


def found_more(stack: "Stack") -> bool:
    """Look into the bucket once and register what the ledger lacks; say whether there was anything.

    What was dropped just now may be known to the object store's own notification alone, waiting on Kafka or before it.
    """
    from services.ingestor.service import Ingestor
    from shared.adapters.kafka import KafkaBus
    from shared.adapters.s3 import open_s3
    from shared.catalog import load_catalog

    settings = stack.settings
    bus = KafkaBus(settings.kafka_bootstrap_servers)
    try:
        catalog = load_catalog(settings.dataset_dir)
        return bool(Ingestor(settings, catalog, stack.warehouse, open_s3(settings), bus).sweep_once().registered)
    finally:
        bus.close()


def stuck(stack: "Stack", backlog: Backlog, datasets: Sequence[str] | None = None) -> Outstanding:
    """Return the error that names what is held or failed."""
    advice = "`medallion status` shows all of them"
    if backlog.counts.get("failed"):
        advice += "; failed ones are tried again at growing intervals"
    return Outstanding("\n".join([f"left over: {backlog.sentence()}", *_named(stack, datasets), advice]))


def _named(stack: "Stack", datasets: Sequence[str] | None) -> list[str]:
    """Return a line for each of the oldest outstanding items."""
    parameters = {"datasets": list(datasets) if datasets else None, "rows": NAMED_MAX}
    with stack.session("settle") as session:
        rows = session.rows(stack.query("outstanding_items"), parameters)
    lines = []
    for status, dataset, item, attempts, reason in rows:
        if status == "gold":
            lines.append(f"  gold model {item} has {attempts} change set(s) of {dataset} to take in")
        else:
            lines.append(f"  {status}: {item}" + (f": {reason}" if reason else ""))
    return lines


def idle_workers(stack: "Stack") -> list[str]:
    """Return hints when the workers that would do the work are not there, or have stopped."""
    from services.cli import stopped

    parameters = {"silence": stack.settings.heartbeat_silence_seconds}
    with stack.session("settle") as session:
        alive = {row[0] for row in session.rows(stack.query("workers"), parameters) if row[5]}
        stops = [stopped.sentence(one) for one in stopped.stopped_workers(session, stack)]
    missing = [service for service in ("ingestor", "silver", "gold") if service not in alive]
    if missing:
        stops.append(f"no {' and no '.join(missing)} worker has sent a heartbeat: start them with `medallion up`")
    return [*stops, *([stopped.REMEDY] if len(stops) > bool(missing) else [])]


def settle(timeout_seconds: TimeoutSeconds = 300.0, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Wait until no object is unfinished and gold has taken in every change.

    What lies in the bucket when it looks counts, announced or not. Exits with 1 at once when only held or failed
    objects are left, and with 1 on timeout, naming what is outstanding.
    """
    from services.cli.connect import find_stack

    stack = find_stack(data_dir)
    began = time.monotonic()
    with errors().status("Looking …") as spinner:

        def wait() -> Backlog:
            left_seconds = timeout_seconds - (time.monotonic() - began)
            return wait_until_settled(
                stack, left_seconds, on_progress=lambda left: spinner.update(f"Waiting for {left.sentence()} …")
            )

        backlog = wait()
        while found_more(stack):
            backlog = wait()
    if as_json:
        print_json({"settled": not backlog.stuck, "seconds": round(time.monotonic() - began, 3), **backlog.counts})
    if backlog.stuck:
        raise stuck(stack, backlog)
    if not as_json:
        console().print(f"Settled: nothing is outstanding ({time.monotonic() - began:.1f} s).")
