"""One chaos run: the corpus without faults and one worker, then again under fire, and the two compared."""

import heapq
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from services.stack import Stack
from shared.adapters.postgres import Postgres
from shared.adapters.s3 import open_s3
from shared.catalog import load_catalog
from shared.errors import MedallionError, Unavailable
from shared.models import load_models
from shared.settings import Settings, load_settings
from tests.chaos.arena import Arena
from tests.chaos.corpus import CONTRACTS, Corpus, Delivery, shuffled
from tests.chaos.endstate import EndState, read_end_state
from tests.chaos.faults import Deck, Recovery
from tests.chaos.lander import Lander
from tests.invariants import broken_invariants
from tests.stacks import Stacks

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "covid"
TICK_SECONDS = 0.05
SHUFFLE_REACH = 30  # deliveries by which one may reach the bucket too early or too late
SETTLE_SECONDS_MAX = 240.0
# Impatient, so that what heals by waiting heals within a test: outages and faults come every few seconds here.
IMPATIENCE = {
    "sweep_interval_seconds": 3.0,
    "reannounce_after_seconds": 4.0,
    "heartbeat_interval_seconds": 1.0,
    "heartbeat_silence_seconds": 5.0,
    "failed_pause_seconds": 5.0,
    "watchdog_seconds": 20.0,
    "log_level": "INFO",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What a run consists of; the same plan meets the same faults, as far as timing lets it."""

    seed: int
    faults: int
    objects: int
    seconds_between_faults: float
    silver: int = 2
    gold: int = 1
    real_files: Sequence[Path] = ()
    keep: bool = False  # leave the folder with data and logs


@dataclass
class Report:
    """What happened."""

    plan: Plan
    faults: Counter[str] = field(default_factory=Counter)
    faults_under_load: int = 0  # injected while the ledger held unfinished work
    objects: int = 0
    rows_compared: int = 0
    reference_seconds: float = 0
    chaos_seconds: float = 0
    settle_seconds: float = 0
    ledger: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    folder: Path | None = None


def real_deliveries(is_long: bool) -> list[Path]:
    """Return the real COVID deliveries in order, where they are at hand: the small ones, or all."""
    files = sorted((REAL_DATA / "deliveries").glob("*.csv"))
    final = sorted(REAL_DATA.glob("time-series-19-covid-combined_*.csv"))
    return [*files, *final] if is_long else files[:3]


def run_chaos(plan: Plan, say: Say, stacks: Stacks) -> Report:
    """Run a plan; `wrong` of the report is empty if all is as it must be."""
    folder = Path(tempfile.mkdtemp(prefix="medallion-chaos-"))
    report = Report(plan, folder=folder if plan.keep else None)
    try:
        settings = chaos_settings(folder)
        deliveries = Corpus(plan.seed).deliveries(plan.objects, plan.real_files)
        report.objects = len(deliveries)
        began = time.monotonic()
        say(f"without faults: {len(deliveries)} objects, one worker")
        expected = undisturbed(stacks, settings, folder / "reference", deliveries).state
        report.reference_seconds = time.monotonic() - began
        _under_fire(stacks, settings, folder / "chaos", plan, deliveries, expected, report, say)
    finally:
        if not plan.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return report


def chaos_settings(folder: Path) -> Settings:
    """Return impatient settings with a configuration in the folder: this project's datasets and the corpus's own."""
    source, target = load_settings().config_dir, folder / "config"
    shutil.copytree(source, target)
    for name, text in CONTRACTS.items():
        (target / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_settings(config_dir=target, **IMPATIENCE)


@dataclass(frozen=True)
class Undisturbed:
    """Where a run without faults leads, and what else there is to know of it."""

    state: EndState
    silver_workers: int  # that took objects
    log: str  # PostgreSQL's, where it is embedded


def undisturbed(
    stacks: Stacks, settings: Settings, folder: Path, deliveries: Sequence[Delivery], silver: int = 1, gold: int = 1
) -> Undisturbed:
    """Load a corpus, landed at once, and return where that leads; raises MedallionError if an invariant breaks."""
    with stacks.open(folder, settings, services=True, silver=silver, gold=gold, discard=False) as opened:
        stack = opened.stack
        lander = Lander(open_s3(stack.settings), deliveries)
        lander.release(1)
        while not lander.is_done:
            lander.release(1)
            stack.tick()
            time.sleep(TICK_SECONDS)
        _settle(stack, stack.tick, len({d.key for d in deliveries}))
        state, wrong = _read(stack)
        if wrong:
            raise MedallionError("without any fault: " + "; ".join(wrong))
        with _warehouse(stack).session("chaos") as session:
            workers = session.rows("SELECT count(DISTINCT worker_id) FROM bronze.processing_runs")[0][0]
    log = folder / "logs" / "postgres.log"
    return Undisturbed(state, workers, log.read_text(encoding="utf-8") if log.exists() else "")


def _under_fire(
    stacks: Stacks,
    settings: Settings,
    folder: Path,
    plan: Plan,
    deliveries: Sequence[Delivery],
    expected: EndState,
    report: Report,
    say: Say,
) -> None:
    folder.mkdir(parents=True)
    failpoint_file = folder / "failpoints"
    failpoint_file.write_text("")
    os.environ["MEDALLION_FAILPOINTS"] = f"@{failpoint_file}"  # the services inherit it
    try:
        with stacks.open(folder, settings, services=True, silver=plan.silver, gold=plan.gold, discard=False) as opened:
            stack, warehouse = opened.stack, _warehouse(opened.stack)
            arena = Arena(stack, opened.servers, warehouse, failpoint_file)
            lander = Lander(open_s3(stack.settings), shuffled(deliveries, plan.seed, SHUFFLE_REACH))
            began = time.monotonic()
            _inject(arena, warehouse, lander, plan, report, say)
            report.chaos_seconds = time.monotonic() - began
            say("faults are over; settling")
            _settle(stack, arena.tick, len({d.key for d in deliveries}))
            report.settle_seconds = time.monotonic() - began - report.chaos_seconds
            state, wrong = _read(stack)
            report.rows_compared = state.rows
            report.wrong = [*wrong, *expected.differences(state), *arena.slow_stops]
            report.ledger = _ledger(stack)
            report.restarts = {name: child.restarts for name, child in stack.children.items()}
            arena.close()
    finally:
        del os.environ["MEDALLION_FAILPOINTS"]


def _inject(arena: Arena, warehouse: Postgres, lander: Lander, plan: Plan, report: Report, say: Say) -> None:
    """Inject one fault after another while the corpus flows; all faults are undone when this returns."""
    chooser = random.Random(plan.seed)
    deck = Deck(chooser)
    recoveries: list[tuple[float, int, Recovery]] = []
    next_fault = time.monotonic() + plan.seconds_between_faults
    said_at = time.monotonic()
    while (count := report.faults.total()) < plan.faults or recoveries or not lander.is_done:
        now = time.monotonic()
        arena.tick()
        lander.release((count + 1) / plan.faults)
        while recoveries and recoveries[0][0] <= now:
            heapq.heappop(recoveries)[2]()
        if count < plan.faults and now >= next_fault:
            report.faults_under_load += _has_work(arena, warehouse)
            name, injected = deck.inject(arena)
            report.faults[name] += 1
            if injected.recover:
                heapq.heappush(recoveries, (time.monotonic() + injected.seconds, count, injected.recover))
            next_fault = time.monotonic() + plan.seconds_between_faults * chooser.uniform(0.5, 1.5)
        if now - said_at >= 15:
            said_at = now
            say(f"{count} of {plan.faults} faults injected, {lander.landed} of {report.objects} objects landed")
        time.sleep(TICK_SECONDS)
    lander.stop()


def _has_work(arena: Arena, warehouse: Postgres) -> bool:
    if "postgres" in arena.away:
        return True  # then nothing can be finished
    try:
        with warehouse.session("chaos") as session:
            found = session.rows(
                "SELECT EXISTS (SELECT FROM bronze.ingestion_metadata WHERE status IN ('registered', 'processing'))"
                " OR EXISTS (SELECT FROM gold.pending)"
            )
        return bool(found[0][0])
    except Unavailable:
        return True


def _settle(stack: Stack, tick: Callable[[], None], keys: int) -> None:
    """Wait until every key is in the ledger, nothing is unfinished, failed or unannounced, and gold has taken it in."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    warehouse = _warehouse(stack)
    while True:
        tick()
        left = _outstanding(warehouse, keys)
        if not left:
            return
        if time.monotonic() > deadline:
            raise MedallionError(
                f"not settled after {SETTLE_SECONDS_MAX:g} s: {left}; logs lie in {stack.data_dir}/logs"
            )
        time.sleep(0.2)


def _outstanding(warehouse: Postgres, keys: int) -> str:
    try:
        with warehouse.session("chaos") as session:
            registered, unfinished, pending, unsaid = session.rows(
                """
                SELECT (SELECT count(DISTINCT object_key) FROM bronze.ingestion_metadata),
                       (SELECT count(*) FROM bronze.ingestion_metadata
                        WHERE status IN ('registered', 'processing', 'failed')),
                       (SELECT count(*) FROM gold.pending),
                       (SELECT count(*) FROM silver.change_sets WHERE announced_at IS NULL OR exported_at IS NULL)
                """
            )[0]
    except Unavailable as error:
        return str(error)
    if registered == keys and not unfinished and not pending and not unsaid:
        return ""
    return (
        f"{registered} of {keys} keys registered, {unfinished} objects unfinished, {pending} change sets wait for gold, "
        f"{unsaid} are not announced or exported"
    )


def _read(stack: Stack) -> tuple[EndState, list[str]]:
    """Return the end state and what breaks an invariant."""
    settings = stack.settings
    catalog = load_catalog(settings.dataset_dir)
    with _warehouse(stack).session("chaos") as session:
        state = read_end_state(session, catalog, load_models(settings.sql_dir, catalog.datasets))
        wrong = broken_invariants(session, catalog)
        letters = session.rows("SELECT reason, coalesce(traceback, '') FROM bronze.dead_letters")
    return state, [*wrong, *(f"a dead letter: {reason}\n{traceback}" for reason, traceback in letters)]


def _ledger(stack: Stack) -> dict[str, int]:
    with _warehouse(stack).session("chaos") as session:
        rows = session.rows(
            """
            SELECT status, count(*) FROM bronze.ingestion_metadata GROUP BY status
            UNION ALL SELECT 'attempts beyond the first', sum(greatest(attempts - 1, 0)) FROM bronze.ingestion_metadata
            UNION ALL SELECT 'found by the sweep', count(*) FROM bronze.ingestion_metadata WHERE discovered_by = 'sweep'
            UNION ALL SELECT 'workers started', count(*) FROM bronze.workers
            """
        )
    return {name: int(count or 0) for name, count in rows}


def _warehouse(stack: Stack) -> Postgres:
    assert stack.settings.database_url is not None
    return Postgres(stack.settings.database_url.get_secret_value())
