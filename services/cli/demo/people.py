"""Made-up users and posts of the real API's shape, seeded."""

import random
from typing import Any

SEED = 10
USERS, POSTS_EACH = 10, 10

_FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Margaret", "Leslie")
_LAST = ("Quist", "Obi", "Marchetti", "Novak", "Tanaka", "Fischer", "Silva", "Kowalski", "Haddad", "Lindqvist")
_COMPANIES = ("Northwind Labs", "Northwind Labs", "Blue Heron", "Quarry & Sons", "Blue Heron", "Northwind Labs",
              "Tidewater", "Tidewater", "Fernhill", "Fernhill")  # fmt: skip
_DOMAINS = ("north.example.com", "heron.example.org", "mail.example.net")
_STREETS = ("Harbour Lane", "Mill Road", "Station Street", "Oak Avenue")
_CITIES = ("Lisbon", "Leeds", "Lagos", "Lyon")
_TEXT = (
    "pipeline bucket table harbour lantern morning careful great terrible slow quick result answer nobody "
    "expected measured again simple honest broken happy failure success wonderful row column number window river"
)
_WORDS = tuple(_TEXT.split())


def users() -> list[dict[str, Any]]:
    """Return ten users; the e-mail of one and the phone of another are wrong, as happens."""
    chance = random.Random(SEED)  # noqa: S311 - nothing secret
    made = [_user(chance, n) for n in range(USERS)]
    made[3]["email"] = "edsger.novak(at)north.example.com"
    made[6]["phone"] = "ask reception"
    return made


def _user(chance: random.Random, n: int) -> dict[str, Any]:
    name = f"{_FIRST[n]} {_LAST[n]}"
    return {
        "id": n + 1,
        "name": name,
        "username": _FIRST[n].lower() + str(n),
        "email": f"{name.lower().replace(' ', '.')}@{_DOMAINS[n % len(_DOMAINS)]}",
        "address": {
            "street": f"{chance.randint(1, 99)} {chance.choice(_STREETS)}",
            "suite": f"Apt. {chance.randint(1, 400)}",
            "city": chance.choice(_CITIES),
            "zipcode": f"{chance.randint(10_000, 99_999)}",
            "geo": {"lat": f"{chance.uniform(-90, 90):.4f}", "lng": f"{chance.uniform(-180, 180):.4f}"},
        },
        "phone": f"1-770-555-{chance.randint(100, 9_999):04}",
        "website": f"{_LAST[n].lower()}.example.com",
        "company": {"name": _COMPANIES[n], "catchPhrase": _sentence(chance, 4), "bs": _sentence(chance, 3)},
    }


def posts() -> list[dict[str, Any]]:
    """Return a hundred posts, more by some than by others."""
    chance = random.Random(SEED + 1)  # noqa: S311 - nothing secret
    authors = [user for user in range(1, USERS + 1) for _ in range(POSTS_EACH + 5 - user)]
    authors = (authors + [1] * USERS * POSTS_EACH)[: USERS * POSTS_EACH]
    return [
        {
            "userId": author,
            "id": number,
            "title": _sentence(chance, 5),
            "body": "\n".join(_sentence(chance, chance.randint(5, 12)) for _ in range(chance.randint(2, 5))),
        }
        for number, author in enumerate(authors, 1)
    ]


def _sentence(chance: random.Random, words: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(words))
