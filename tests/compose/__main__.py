"""`make compose-test`: the containers through scaling, kills and a restart, to the end state that the files come to."""

import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.compose import confinement
from tests.compose.droppers import Dropper, all_together
from tests.compose.endstate import check_ledger, compare, shown, wanted
from tests.compose.engine import Engine, Failed, is_docker_there, wait_until

DROPPERS = 3
PAUSE_SECONDS = 0.6
FLOW_SECONDS = 10.0  # between two disturbances
OUTAGE_SECONDS = 4.0
KAFKA_OUTAGE_SECONDS = 16.0  # longer than workers wait: they exit and the engine restarts them
SETTLE_SECONDS_MAX = 150


def say(sentence: str) -> None:
    """Print one line of the report at once."""
    print(sentence, flush=True)


class Run:
    """One run of the test; each step says what it showed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._droppers: list[Dropper] = []

    def up(self) -> None:
        """The file is valid, and everything becomes healthy."""
        printed = self._engine.compose("config", "--quiet")
        if printed.strip():
            raise Failed(f"docker compose config warns: {printed}")
        say("docker compose config is clean")
        say(f"built and healthy in {self._engine.up():.0f} s")
        tool = "/opt/kafka/bin/kafka-topics.sh --bootstrap-server kafka:19092 --describe --exclude-internal"
        described = self._engine.run(["docker", "exec", self._engine.containers("kafka")[0], *tool.split()])
        partitions = dict(re.findall(r"Topic: (\S+).*PartitionCount: (\d+)", described))
        if partitions != {"bronze-ready": "8", "silver-ready": "4", "gold-ready": "1", "dead-letters": "1"}:
            raise Failed(f"topics and partitions: {partitions}")
        say(f"topics: {', '.join(f'{name} {count}' for name, count in sorted(partitions.items()))}")

    def confine(self) -> None:
        """Nobody may do more than they need."""
        users = confinement.check_users(self._engine)
        say(f"user ids: {', '.join(f'{service} {user}' for service, user in sorted(users.items()))}; no capabilities")
        say(f"published: {', '.join(confinement.check_ports(self._engine))}; nothing beyond loopback")
        say(f"no secret in the image ({confinement.check_image(self._engine) / 1e6:.0f} MB)")
        say(f"{confinement.check_logins(self._engine)} things that logins must not do were denied")

    def flow(self) -> None:
        """Files flow while workers come and go and servers die."""
        engine = self._engine
        engine.compose("up", "--detach", "--no-build", "--wait", "--scale", "silver=1")
        self._droppers = [Dropper(n, engine.store("dropper"), PAUSE_SECONDS) for n in range(DROPPERS)]
        for dropper in self._droppers:
            dropper.start()
        time.sleep(FLOW_SECONDS)
        self._scale(4)
        wait_until("four silver workers load objects", lambda: self._workers_since(FLOW_SECONDS) >= 4)
        self._down_for("silver", OUTAGE_SECONDS)
        self._down_for("store", OUTAGE_SECONDS)
        self._down_for("postgres", OUTAGE_SECONDS)
        self._down_for("kafka", KAFKA_OUTAGE_SECONDS)
        restarts = sum(engine.inspect(one)["RestartCount"] for one in engine.containers())
        say(f"workers that gave up and were restarted by the engine: {restarts}")
        self._scale(2)
        time.sleep(FLOW_SECONDS)
        for dropper in self._droppers:
            dropper.stop()
        self._droppers[0].drop_in_parts()

    def _scale(self, workers: int) -> None:
        self._engine.compose("up", "--detach", "--no-build", "--no-recreate", "--scale", f"silver={workers}")
        wait_until(
            f"{workers} silver workers run", lambda: len(self._engine.compose("ps", "-q", "silver").split()) == workers
        )
        say(f"silver scaled to {workers} while files flow")

    def _down_for(self, service: str, seconds: float) -> None:
        before = sum(dropper.expected.files for dropper in self._droppers)
        container = self._engine.kill(service)
        time.sleep(seconds)
        self._engine.start(container)
        self._wait_healthy(container, service)
        time.sleep(FLOW_SECONDS)
        dropped = sum(dropper.expected.files for dropper in self._droppers) - before
        say(f"{service} killed and away for {seconds:.0f} s; {dropped} files were dropped meanwhile")

    def _wait_healthy(self, container: str, service: str) -> None:
        health = lambda: self._engine.inspect(container)["State"]["Health"]["Status"] == "healthy"  # noqa: E731
        wait_until(f"{service} is healthy again", health)

    def _workers_since(self, seconds: float) -> int:
        return int(
            self._engine.rows(
                "SELECT count(DISTINCT worker_id) FROM bronze.processing_runs"
                f" WHERE finished_at > clock_timestamp() - interval '{seconds} seconds'"
            )[0][0]
        )

    def settle(self) -> None:
        """Wait until nothing is outstanding, and compare everything with the expectation."""
        began = time.monotonic()
        self._engine.compose("run", "--rm", "-T", "cli", "settle", "--timeout-seconds", str(SETTLE_SECONDS_MAX))
        expected = all_together(self._droppers)
        compare(shown(self._engine), wanted(expected))
        found = check_ledger(self._engine)
        say(
            f"settled in {time.monotonic() - began:.0f} s: {expected.files} files gave {len(expected.covid)} rows,"
            f" {len(expected.stale)} of them stale, {len(expected.quarantine)} quarantined and {len(expected.users)}"
            f" people, as expected; found by {', '.join(f'{how} {count}' for how, count in sorted(found.items()))}"
        )

    def again(self) -> None:
        """Taken down under way and up again, the volumes kept, it goes on to the same end."""
        before = shown(self._engine)
        self._engine.compose("down")
        if self._engine.containers():
            raise Failed("containers are left after down")
        say(f"down, and healthy again in {self._engine.up():.0f} s")
        compare(shown(self._engine), before)
        for dropper in self._droppers:
            for _ in range(5):
                dropper.drop()
        self._remove_one()
        self._engine.compose("stop", "silver", "gold")
        self._droppers[1].drop()
        self._engine.compose("down")
        self._engine.up()

    def _remove_one(self) -> None:
        """A deletion leaves a marker: what was dropped stays loaded."""
        store = self._engine.store("root")
        key = next(iter(store.list_objects("bronze-layer", "covid/0/", recursive=True))).object_name
        store.remove_object("bronze-layer", str(key))
        noted = lambda: '"removal_noted"' in self._engine.compose("logs", "--no-color", "silver")  # noqa: E731
        wait_until("a silver worker notes the removal", noted)
        say("a removal was announced, noted, and changed nothing")


def main() -> int:
    """Run all steps; 0 when everything held, else 1."""
    if missing := is_docker_there():
        sys.stderr.write(f"compose-test: {missing}; this test is about containers and cannot be run without.\n")
        return 1
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="medallion-compose-") as folder:
        engine = Engine(Path(folder))
        run = Run(engine)
        steps: list[Callable[[], None]] = [run.up, run.confine, run.flow, run.settle, run.again, run.settle]
        try:
            for step in steps:
                step()
            confinement.check_logs(engine)
            say("no secret in any log")
        except Failed as failure:
            sys.stderr.write(f"compose-test: {failure}\n{engine.compose('ps', '--all')}")
            sys.stderr.write(engine.compose("logs", "--no-color", "--tail", "6"))
            return 1
        finally:
            engine.compose("--profile", "cli", "down", "--volumes", "--remove-orphans")
    say(f"All held, in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
