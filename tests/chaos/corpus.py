"""What flows while faults are injected: deliveries of five datasets, the same for the same seed.

Full snapshots with restatements, removals, reverts and byte-identical redeliveries, merges over them, appended files and
new versions of those, rows and files that break their contract, a key that no dataset claims, and the real COVID
deliveries where they are at hand. No two snapshots differ by as many rows as the removal guard objects to: what it holds
back depends on which snapshot was applied before, and so is no part of an end state that must not.
"""

import csv
import hashlib
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.described import CONTENT_SHA256, LANDED_AT, WRITE_DISPOSITION

# All within one UTC day: gold's summary of users keeps the days before as they were, which depends on order.
FIRST_LANDED_AT = datetime(2026, 1, 5, tzinfo=UTC)

STATIONS = """
dataset: stations
description: Measuring stations, as a network's operator lists them.
format: {type: csv}
columns:
  - {name: station, type: text}
  - {name: place, type: text, nullable: true}
  - {name: height_m, type: decimal, precision: 7, scale: 2, nullable: true}
  - {name: opened, type: date}
primary_key: [station]
rules:
  - {name: is_above_the_sea, check: "height_m > 0", severity: warn, penalty: 25}
change_groups: [place]
"""
MEASUREMENTS = """
dataset: measurements
description: What the stations measured; every file adds to it.
drops: {write_disposition: append}
format: {type: csv}
columns:
  - {name: station, type: text}
  - {name: taken_at, type: timestamp}
  - {name: celsius, type: decimal, precision: 5, scale: 2}
rules:
  - {name: is_no_sensor_fault, check: "celsius BETWEEN -60 AND 60", severity: quarantine}
"""
CONTRACTS = {"stations": STATIONS, "measurements": MEASUREMENTS}

_FIRST, _LAST = (
    ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gro", "Hal"),
    ("Berg", "Coe", "Dahl", "Eng", "Fox", "Gray"),
)
_WORDS = [
    "good",
    "awful",
    "table",
    "river",
    "stone",
    "happy",
    "sad",
    "bright",
    "error",
    "love",
    "terrible",
    "quick",
    "http://a.example",
    "lamp",
]
_COUNTRIES = ("Germany", "France", "Brazil", "Korea, South", "Fiji")


@dataclass(frozen=True)
class Delivery:
    """One object as it reaches the bronze bucket; no metadata: a drop."""

    key: str
    content: bytes | Path = field(repr=False)
    metadata: Mapping[str, str] = field(default_factory=dict)


class Corpus:
    """Makes deliveries, round after round, each later in version order than the one before."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = 0
        self._snapshots: dict[str, list[bytes]] = {}

    def deliveries(self, objects_min: int, real: Sequence[Path] = ()) -> list[Delivery]:
        """Return at least so many deliveries, the real COVID files spread among them in their order."""
        made: list[Delivery] = []
        files = list(real)
        every = max(objects_min // (len(files) + 1), 1)
        while len(made) < objects_min or files:
            if files and len(made) >= every * (len(real) - len(files)):
                made.append(self._landed("covid", files.pop(0), "replace"))
            made.extend(self._round())
        return made

    def _round(self) -> Iterator[Delivery]:
        chance = self._random.random
        yield self._snapshot("users", self._users())
        yield self._snapshot("posts", self._posts(range(1, 131)))
        yield self._landed("posts", self._posts(self._random.sample(range(1, 150), 8), is_whole=False), "merge")
        yield self._snapshot("stations", self._stations(range(200)))
        yield self._landed("stations", self._stations(self._random.sample(range(240), 12), is_whole=False), "merge")
        yield self._landed("covid", self._covid(), "merge")
        if chance() < 0.5:
            yield self._landed("users", self._users(is_whole=False), "merge")
        name = f"measurements/day {self._number:04}+ü.csv"
        yield Delivery(name, self._measurements())
        if chance() < 0.4:  # a corrected file under the same key
            yield Delivery(name, self._measurements())
        if chance() < 0.2:
            yield self._landed("stations", b"this is no table of stations\n1\n2\n", "replace")
        if chance() < 0.2:
            yield Delivery(f"nobody/{self._number:04}.csv", b"a,b\n1,2\n")

    def _snapshot(self, dataset: str, content: bytes) -> Delivery:
        """Land a snapshot: mostly the new one, at times an earlier one once more, byte for byte."""
        earlier = self._snapshots.setdefault(dataset, [])
        if earlier and self._random.random() < 0.3:
            content = self._random.choice([earlier[-1], *earlier])
        earlier.append(content)
        return self._landed(dataset, content, "replace")

    def _landed(self, dataset: str, content: bytes | Path, disposition: str) -> Delivery:
        self._number += 1
        landed_at = FIRST_LANDED_AT + timedelta(seconds=self._number)
        body = content if isinstance(content, bytes) else content.read_bytes()
        metadata = {
            LANDED_AT: landed_at.isoformat(timespec="microseconds"),
            WRITE_DISPOSITION: disposition,
            CONTENT_SHA256: hashlib.sha256(body).hexdigest(),
        }
        return Delivery(
            f"{dataset}/ingest_date={landed_at:%Y-%m-%d}/{self._number:05}_{disposition}", content, metadata
        )

    def _some(self, keys: Sequence[int], is_whole: bool) -> list[int]:
        """Leave out a few keys of a snapshot, among the last fifteen in a hundred: so few that no guard objects."""
        if not is_whole:
            return list(keys)
        core = len(keys) * 85 // 100
        return [*keys[:core], *(key for key in keys[core:] if self._random.random() < 0.6)]

    def _users(self, is_whole: bool = True) -> bytes:
        ids = self._some(range(1, 47), True) if is_whole else self._random.sample(range(1, 47), 21)
        people = [self._user(one) for one in ids]
        if self._random.random() < 0.3:
            self._random.choice(people)["address"] = {"geo": {"lat": "north"}}  # a bad row: the last good one stays
        if self._random.random() < 0.1:
            self._random.choice(people)["id"] = "unknown"  # a key nobody can read: nothing may be removed
        return json.dumps(people).encode()

    def _user(self, number: int) -> dict[str, object]:
        pick = self._random.choice
        first, last = _FIRST[number % 8], pick(_LAST)
        email = f"{first}.{last}@mail.example" if pick(range(6)) else "none"
        return {
            "id": number, "name": f"{first} {last}", "username": first.lower(), "email": email,
            "phone": pick(("1-770-736-8031", "n/a", "+49 30 901820")), "website": "site.example",
            "address": {"street": "Main", "city": pick(("Bonn", "Lyon")), "geo": {"lat": "50.1", "lng": "8.2"}},
            "company": {"name": pick(("Acme", "Globex", "Initech"))},
        }  # fmt: skip

    def _posts(self, ids: Sequence[int], is_whole: bool = True) -> bytes:
        def text(words: int) -> str:
            return " ".join(self._random.choices(_WORDS, k=words))

        # User 999 never comes: a referential rule keeps such posts waiting.
        authors = [*range(1, 47)] + ([999] if is_whole and self._random.random() < 0.3 else [])
        return json.dumps([
            {"id": one, "userId": self._random.choice(authors) if one > 4 else authors[-one], "title": text(3),
             "body": text(9) if self._random.random() < 0.95 else ""}
            for one in self._some(ids, is_whole)
        ]).encode()  # fmt: skip

    def _stations(self, ids: Sequence[int], is_whole: bool = True) -> bytes:
        rows = []
        for number in self._some(ids, is_whole):
            opened = f"19{self._random.randrange(50, 99)}-0{self._random.randrange(1, 9)}-11"
            place = self._random.choice(("Kap", 'Berg "Süd"', "Tal, unten", "", "Hafen\nNord"))
            rows.append([f"S{number:03}", place, f"{self._random.randrange(-40, 3000)}.5", opened])
        if is_whole and self._random.random() < 0.4:
            rows[0][3] = "yesterday"
            rows.append(list(rows[5]))  # a duplicate
            rows.append([*rows[6][:1], "elsewhere", *rows[6][2:]])  # and one that contradicts
        return _csv(("station", "place", "height_m", "opened"), rows)

    def _measurements(self) -> bytes:
        days = self._random.sample(range(1, 29), 20)
        rows = [
            [f"S{self._random.randrange(200):03}", f"2025-11-{day:02}T06:00:00", f"{self._random.uniform(-30, 35):.2f}"]
            for day in days
        ]
        if self._random.random() < 0.3:
            rows[3][2] = "99.99"
        return _csv(("station", "taken_at", "celsius"), rows)

    def _covid(self) -> bytes:
        day = datetime(2020, 3, 1, tzinfo=UTC) + timedelta(days=self._random.randrange(25))
        rows = [
            [f"{day:%Y-%m-%d}", country, "", str(self._random.randrange(50_000)), "", str(self._random.randrange(900))]
            for country in self._random.sample(_COUNTRIES, 3)
        ]
        return _csv(("Date", "Country/Region", "Province/State", "Confirmed", "Recovered", "Deaths"), rows)


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def shuffled(deliveries: Sequence[Delivery], seed: int, reach: int) -> list[Delivery]:
    """Return deliveries out of order by up to about `reach` places; versions of one key keep theirs."""
    chooser = random.Random(seed)
    order = sorted(range(len(deliveries)), key=lambda place: place + chooser.uniform(0, reach))
    places: dict[str, list[int]] = {}
    for place in sorted(order):
        places.setdefault(deliveries[place].key, []).append(place)
    return [deliveries[places[deliveries[place].key].pop(0)] for place in order]
