"""Logins: what PostgreSQL is told of their passwords, and what the object store lets them do."""

import base64

import pytest

from shared.errors import ConfigurationError
from shared.roles import WHO, passwords, policy, scram
from shared.settings import Settings, data_file_root

WRITES = {"s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}


def test_a_password_is_sent_as_postgresql_keeps_it() -> None:
    # The example of RFC 7677.
    kept = scram("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))

    assert kept == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
        "$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram("pencil") != scram("pencil")


def test_logins_without_a_password_are_not_made() -> None:
    settings = Settings(_env_file=None, silver_password="s" * 8)  # type: ignore[call-arg, arg-type]

    assert passwords(settings) == {"silver": "s" * 8}


@pytest.mark.parametrize("password", ["short", "x" * 41, "schlüssel", "tab\tulator"])
def test_a_password_that_cannot_be_used_is_named(password: str) -> None:
    settings = Settings(_env_file=None, gold_password=password)  # type: ignore[call-arg, arg-type]

    with pytest.raises(ConfigurationError, match="MEDALLION_GOLD_PASSWORD: 8 to 40"):
        passwords(settings)


def test_nobody_may_do_more_in_the_object_store_than_they_need() -> None:
    def written(who: str) -> list[str]:
        statements = policy(who)["Statement"]
        return [s["Resource"][0].rpartition(":")[2] for s in statements if WRITES & set(s["Action"])]

    assert {who: written(who) for who in WHO} == {
        "ingestor": ["bronze-layer"],
        "silver": ["silver-layer"],
        "gold": ["gold-layer"],
        "reader": [],
        "dropper": ["bronze-layer"],
    }
    actions = {action for who in WHO for statement in policy(who)["Statement"] for action in statement["Action"]}
    assert [action for action in actions if "Delete" in action or "*" in action] == []


def test_every_role_of_the_database_is_somebody() -> None:
    files = {path.stem: path.read_text() for path in (data_file_root("sql") / "roles").glob("*.sql")}

    assert set(files) == set(WHO) - {"dropper"}
    assert [who for who, text in files.items() if f"TO medallion_{who}" not in text] == []
