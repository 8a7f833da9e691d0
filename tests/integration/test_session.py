"""What a session of PostgreSQL does beyond the driver: statements that travel together, and transactions of one trip."""

from collections.abc import Iterator

import psycopg2
import pytest

from services.stack import Stack
from shared.adapters.postgres import Postgres, PostgresSession
from shared.ports import Prepared


@pytest.fixture
def warehouse(stack: Stack) -> Postgres:
    return Postgres(stack.endpoints["MEDALLION_DATABASE_URL"])


@pytest.fixture
def session(warehouse: Postgres) -> Iterator[PostgresSession]:
    with warehouse.session("test") as session:
        session.execute("CREATE TEMP TABLE told (number integer PRIMARY KEY, said text)")
        session.commit()
        yield session


def told(session: PostgresSession) -> list[int]:
    return [row[0] for row in session.rows("SELECT number FROM told ORDER BY number")]


def test_what_is_said_later_goes_before_the_next_statement(session: PostgresSession) -> None:
    session.later("INSERT INTO told VALUES (%s, %s)", (1, "100 % sure; or not"))
    session.later("INSERT INTO told VALUES (%(number)s, NULL)", {"number": 2})
    assert session.execute("UPDATE told SET said = 'x' WHERE number > 1") == 1
    session.rollback()
    assert told(session) == []


def test_a_commit_takes_along_what_was_said_later_and_a_rollback_forgets_it(session: PostgresSession) -> None:
    session.later("INSERT INTO told VALUES (1)")
    session.commit()
    session.later("INSERT INTO told VALUES (2)")
    session.rollback()
    session.commit()
    assert told(session) == [1]


def test_a_copy_takes_part_in_the_transaction(session: PostgresSession) -> None:
    session.later("INSERT INTO told VALUES (1)")
    assert session.copy_in("COPY told (number) FROM STDIN", [b"2\n", b"3\n"]) == 2
    session.rollback()
    assert told(session) == []
    assert session.copy_in("COPY told (number) FROM STDIN", [b"4\n"]) == 1
    session.commit()
    session.rollback()
    assert told(session) == [4]


def test_what_is_done_at_once_is_committed(session: PostgresSession) -> None:
    assert session.at_once("INSERT INTO told VALUES (1) RETURNING number") == [(1,)]
    session.rollback()
    session.later("INSERT INTO told VALUES (2)")
    assert session.at_once("SELECT count(*) FROM told") == [(2,)]
    session.rollback()
    assert told(session) == [1, 2]


def test_an_error_costs_the_transaction_and_not_the_session(session: PostgresSession) -> None:
    session.later("INSERT INTO told VALUES (1)")
    session.later("INSERT INTO told VALUES (1)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        session.commit()
    session.rollback()
    assert told(session) == []
    session.rollback()
    with pytest.raises(psycopg2.errors.UndefinedTable):
        session.at_once("SELECT FROM nowhere")
    assert told(session) == []


def plans(session: PostgresSession) -> int:
    return int(session.rows("SELECT count(*) FROM pg_prepared_statements")[0][0])


def test_a_prepared_statement_is_planned_once(session: PostgresSession) -> None:
    asked = Prepared("SELECT %(second)s::text, %(first)s::int + 1, %(second)s::text")
    inserted = Prepared("INSERT INTO told SELECT unnest(%s::int[]), %s")
    for number in range(3):
        assert session.rows(asked, {"first": number, "second": "it's"}) == [("it's", number + 1, "it's")]
        assert session.execute(inserted, ([2 * number, 2 * number + 1], "both")) == 2
    assert plans(session) == 2
    session.rollback()
    assert told(session) == []
    session.later(inserted, ([7], None))
    assert session.at_once(asked, {"first": 1, "second": ""}) == [("", 2, "")]
    session.rollback()
    assert told(session) == [7]
    assert plans(session) == 2


def test_a_prepared_statement_that_fails_leaves_the_session_usable(session: PostgresSession) -> None:
    doubled = Prepared("INSERT INTO told VALUES (%s) RETURNING number")
    assert session.at_once(doubled, (1,)) == [(1,)]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        session.rows(doubled, (1,))
    session.rollback()
    with pytest.raises(psycopg2.errors.UndefinedTable):
        session.rows(Prepared("SELECT %s FROM nothing"), (1,))
    session.rollback()
    assert session.at_once(doubled, (2,)) == [(2,)]


def test_what_waits_and_what_is_done_at_once_are_one_transaction(session: PostgresSession) -> None:
    session.later("INSERT INTO told VALUES (1)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        session.at_once("INSERT INTO told VALUES (1) RETURNING number")
    session.rollback()
    assert told(session) == []
