"""People who drop files, and what their files come to: the expectation knows nothing of the pipeline's code.

Each dropper owns keys that nobody else writes and drops one file after the other, so that walking its files in order
gives the end state whatever order they are processed in.
"""

import io
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

from minio import Minio
from minio.commonconfig import CopySource

BUCKET = "bronze-layer"
HEADER = "Date,Country/Region,Province/State,Confirmed,Recovered,Deaths\n"
NAMES = ("new day {}.csv", "a+b {}.csv", "Zürich {}.csv", "100% {}.csv", "plain-{}.csv")
COMPANIES = ("Northwind Labs", "Blue Heron", "Quarry & Sons", "Tidewater", "Fernhill")
DAY_ZERO = date(2021, 1, 1)
DAYS, ROWS = 60, 100
PART_BYTES = 5 << 20
RETRY_SECONDS_MAX = 60

Key = tuple[date, str, str]


@dataclass
class Expected:
    """The end state that a dropper's files come to."""

    covid: dict[Key, tuple[int, int, int | None]] = field(default_factory=dict)
    stale: set[Key] = field(default_factory=set)
    quarantine: dict[tuple[str, int], Key] = field(default_factory=dict)
    users: dict[int, tuple[str, str]] = field(default_factory=dict)
    files: int = 0

    def take_covid(self, object_key: str, content: str) -> None:
        """Apply one file, the newest so far."""
        self.files += 1
        for number, line in enumerate(content.splitlines()[1:], start=2):
            day, country, province, confirmed, recovered, deaths = line.split(",")
            key = (date.fromisoformat(day), country, province)
            if confirmed.isdigit():
                self.covid[key] = (int(confirmed), int(deaths), int(recovered) if recovered else None)
                self.stale.discard(key)
                self.quarantine = {at: bad for at, bad in self.quarantine.items() if bad != key}
            else:
                self.quarantine[object_key, number] = key
                if key in self.covid:
                    self.stale.add(key)

    def take_users(self, content: str) -> None:
        """Apply one file of people."""
        self.files += 1
        self.users.update({one["id"]: (one["name"], one["company"]["name"]) for one in json.loads(content)})


class Dropper(threading.Thread):
    """Somebody with an S3 client who drops a file every now and then until told to stop."""

    def __init__(self, number: int, client: Minio, pause_seconds: float) -> None:
        super().__init__(name=f"dropper-{number}", daemon=True)
        self.expected = Expected()
        self.error: Exception | None = None
        self._number, self._client, self._pause_seconds = number, client, pause_seconds
        self._chance = random.Random(number)
        self._last: tuple[str, str] | None = None
        self._count = 0
        self._stopping = threading.Event()

    def run(self) -> None:
        """Drop until stopped; an error ends it and is kept."""
        try:
            while not self._stopping.wait(self._pause_seconds):
                self.drop()
        except Exception as error:  # noqa: BLE001 - told to the main thread
            self.error = error

    def stop(self) -> None:
        """Finish the file under way and stop; raises what went wrong."""
        self._stopping.set()
        self.join()
        if self.error:
            raise self.error

    def drop(self) -> None:
        """Drop the next file: mostly a PUT, sometimes a copy, an overwritten key, or people instead of figures."""
        self._count += 1
        kind = self._count % 10
        if kind == 0:
            key = f"users/{self._number}/people {self._count}.json"
            content = self._people()
            self._put(key, content)
            self.expected.take_users(content)
        elif kind == 5 and self._last:
            source, content = self._last
            key = f"covid/{self._number}/copy of {source.rpartition('/')[2]}"
            self._try(lambda: self._client.copy_object(BUCKET, key, CopySource(BUCKET, source)))
            self.expected.take_covid(key, content)
        else:
            name = NAMES[self._count % len(NAMES)].format(self._count)
            key = self._last[0] if kind == 7 and self._last else f"covid/{self._number}/{name}"
            content = self._figures(with_bad_line=kind % 4 == 0)
            self._put(key, content)
            self.expected.take_covid(key, content)
            self._last = (key, content)

    def drop_in_parts(self) -> None:
        """Drop one file so large that it travels in parts, as every client sends those."""
        country, filler = f"Parts {self._number}", "x" * 200
        lines = (f"2021-03-01,{country},{filler}{n},{n},,0\n" for n in range(PART_BYTES // 200))
        key, content = f"covid/{self._number}/in parts.csv", HEADER + "".join(lines)
        self._put(key, content, part_size=PART_BYTES)
        self.expected.take_covid(key, content)

    def _put(self, key: str, content: str, part_size: int = 0) -> None:
        data = content.encode()
        self._try(lambda: self._client.put_object(BUCKET, key, io.BytesIO(data), len(data), part_size=part_size))

    def _try(self, send: Callable[[], object]) -> None:
        """Send until the store has it: a file that arrived twice in a row means the same."""
        deadline = time.monotonic() + RETRY_SECONDS_MAX
        while True:
            try:
                send()
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def _figures(self, *, with_bad_line: bool) -> str:
        keys = self._chance.sample([(day, n) for day in range(DAYS) for n in range(6)], ROWS)
        lines = [self._line(DAY_ZERO + timedelta(days=day), n) for day, n in keys]
        if with_bad_line:
            day, country, _ = lines[40].split(",", 2)
            lines[40] = f"{day},{country},,27O,0,0\n"
        return HEADER + "".join(lines)

    def _line(self, day: date, n: int) -> str:
        confirmed = self._chance.randint(0, 100_000)
        recovered = self._chance.choice(("", "17"))
        return f"{day},Land {self._number}-{n},,{confirmed},{recovered},{confirmed // 50}\n"

    def _people(self) -> str:
        ids = self._chance.sample(range(self._number * 1000 + 1, self._number * 1000 + 41), 10)
        return json.dumps([self._person(one) for one in ids])

    def _person(self, user_id: int) -> dict[str, object]:
        company = {"name": self._chance.choice(COMPANIES)}
        return {"id": user_id, "name": f"Person {user_id}, {self._count}", "email": "a@example.org", "company": company}


def all_together(droppers: list[Dropper]) -> Expected:
    """Return what all droppers' files come to."""
    whole = Expected()
    for one in (dropper.expected for dropper in droppers):
        whole.covid |= one.covid
        whole.stale |= one.stale
        whole.quarantine |= one.quarantine
        whole.users |= one.users
        whole.files += one.files
    return whole
