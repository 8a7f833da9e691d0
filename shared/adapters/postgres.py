"""PostgreSQL through psycopg2: sessions, COPY streams, and driver errors translated in one place."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, TypeAlias

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from shared.errors import Unavailable
from shared.failpoints import hit
from shared.ports import Prepared, Row

psycopg2.extras.register_uuid()  # type: ignore[no-untyped-call]
psycopg2.extensions.register_adapter(dict, psycopg2.extras.Json)

# Session settings, each measured: without client_connection_check_interval a worker killed inside a long
# statement keeps its locks for more than a minute; with it they are free in 0.3 s.
_SESSION_OPTIONS = " ".join(
    f"-c {setting}"
    for setting in (
        "client_connection_check_interval=500",
        "idle_in_transaction_session_timeout=900000",
        "lock_timeout=60000",
        "TimeZone=UTC",
        "application_name={name}",
    )
)
# What passes when tried again, by SQLSTATE. The driver's own classes will not do: it counts "program limit exceeded"
# (54, a row that no index takes) among its OperationalErrors, and such a row never passes.
_PASSING_CLASSES = ("08", "53", "57", "58")  # connection, resources, operator intervention, system error
_PASSING = ("40001", "40P01", "55P03", "25P03")  # serialization, deadlock, lock timeout, idle transaction ended
COPY_CHUNK_BYTES = 1 << 20
StatementRefused = psycopg2.Error  # the driver's own error, for who shows it to the person that wrote the statement


@contextmanager
def _translated() -> Iterator[None]:
    """Raise Unavailable for lost connections, deadlocks and the like: what passes when tried again."""
    try:
        yield
    except psycopg2.Error as error:
        if not _passes(error):
            raise
        raise Unavailable(
            "PostgreSQL", str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        ) from error


def _passes(error: psycopg2.Error) -> bool:
    """Say whether an error is about the server and not about the statement; without a SQLSTATE it is the connection's."""
    if error.pgcode is None:
        return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
    return error.pgcode in _PASSING or error.pgcode.startswith(_PASSING_CLASSES)


_PARAMETER = re.compile(r"%(?:\((\w+)\))?s")
Params: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
_IN_THE_MIDDLE = 3  # of a binary COPY: header and rows are sent, the trailer is not


class _ChunkReader(io.RawIOBase):
    """A file for psycopg2's COPY to read, fed by an iterable of byte chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")
        self._chunks_read = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = memoryview(chunk)
            self._chunks_read += 1
            if self._chunks_read == _IN_THE_MIDDLE:
                hit("silver.copying")
        if size < 0 or size >= len(self._rest):
            whole, self._rest = self._rest, memoryview(b"")
            return whole.tobytes() if len(whole) != len(whole.obj) else whole.obj  # type: ignore[arg-type, return-value]
        head, self._rest = self._rest[:size], self._rest[size:]
        return head.tobytes()


class _Plan:
    """A statement that the server knows under a name, also after a rollback."""

    def __init__(self, name: str, sql: str) -> None:
        self._name = name
        self._names = list(dict.fromkeys(filter(None, _PARAMETER.findall(sql))))  # of parameters, where they have any
        numbers = count(1)
        text = _PARAMETER.sub(lambda one: f"${self._names.index(one[1]) + 1 if one[1] else next(numbers)}", sql)
        self.statement = f"PREPARE {name} AS {text}"

    def call(self, params: Params) -> tuple[str, Sequence[Any]]:
        """Return the statement that executes it, and its parameters in their order."""
        values = [params[name] for name in self._names] if isinstance(params, Mapping) else list(params or ())
        return f"EXECUTE {self._name}" + (f"({', '.join(['%s'] * len(values))})" if values else ""), values


class PostgresSession:
    """One connection; see shared.ports.Session.

    The driver is left in its autocommit mode, and transactions are opened here, together with their first statement: the
    driver's own BEGIN is a round trip of its own.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._pid: int = connection.get_backend_pid()
        connection.autocommit = True
        self._waiting: list[bytes] = []  # statements that go with the next one
        self._prepared: dict[str, _Plan] = {}  # by their text

    @property
    def backend_pid(self) -> int:
        """Process id of the server's session."""
        return self._pid

    def execute(self, sql: str, params: Params = None) -> int:
        """Run a statement and return how many rows it touched."""
        with _translated(), self._connection.cursor() as cursor:
            self._send(cursor, sql, params)
            return int(cursor.rowcount)

    def rows(self, sql: str, params: Params = None) -> list[Row]:
        """Run a query and return its rows."""
        with _translated(), self._connection.cursor() as cursor:
            self._send(cursor, sql, params)
            return list(cursor.fetchall())

    def later(self, sql: str, params: Params = None) -> None:
        """Run a statement before the next one or before the commit, in the same round trip."""
        with _translated(), self._connection.cursor() as cursor:
            self._waiting.append(self._composed(cursor, sql, params))

    def at_once(self, sql: str, params: Params = None) -> list[Row]:
        """Run a query as a transaction of its own, in one round trip; whatever is open is committed with it."""
        with _translated(), self._connection.cursor() as cursor:
            statement = self._composed(cursor, sql, params)
            if self._is_open:
                self._send(cursor, statement)
                found = list(cursor.fetchall())
                self.commit()
                return found
            waiting, self._waiting = self._waiting, []
            cursor.execute(b"; ".join([*waiting, statement]))  # what travels together is one transaction
            return list(cursor.fetchall())

    def copy_in(self, statement: str, chunks: Iterable[bytes]) -> int:
        """Stream chunks into a COPY … FROM STDIN statement and return how many rows the server took."""
        with _translated(), self._connection.cursor() as cursor:
            self._flush(cursor)
            cursor.copy_expert(statement, _ChunkReader(chunks), size=COPY_CHUNK_BYTES)
            hit("silver.copied")
            return int(cursor.rowcount)

    def copy_out(self, statement: str, write: Any) -> None:
        """Stream a COPY … TO STDOUT statement into an object with a write method."""
        with _translated(), self._connection.cursor() as cursor:
            self._flush(cursor)
            cursor.copy_expert(statement, write, size=COPY_CHUNK_BYTES)

    def commit(self) -> None:
        """End the transaction, keeping its effects."""
        with _translated(), self._connection.cursor() as cursor:
            if self._is_open or self._waiting:
                self._send(cursor, "COMMIT")

    def rollback(self) -> None:
        """End the transaction, undoing its effects; a lost connection has undone them already."""
        self._waiting.clear()
        with suppress(psycopg2.Error):
            if self._is_open:
                with self._connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")

    @property
    def _is_open(self) -> bool:
        return bool(self._connection.info.transaction_status != psycopg2.extensions.TRANSACTION_STATUS_IDLE)

    def _send(self, cursor: Any, sql: str | bytes, params: Params = None) -> None:
        """Send a statement, behind what waits and, where no transaction is open, behind the BEGIN of one."""
        statement = self._composed(cursor, sql, params)
        before = [*(() if self._is_open else (b"BEGIN",)), *self._waiting]
        self._waiting = []
        cursor.execute(b"; ".join([*before, statement]))

    def _composed(self, cursor: Any, sql: str | bytes, params: Params) -> bytes:
        """Return a statement with its parameters in it; one that is to be planned once is planned when it first comes."""
        if isinstance(sql, Prepared):
            if sql not in self._prepared:
                plan = _Plan(f"prepared_{len(self._prepared)}", sql)
                cursor.execute(plan.statement)
                self._prepared[sql] = plan
            sql, params = self._prepared[sql].call(params)
        composed: bytes = cursor.mogrify(sql, params)
        return composed

    def _flush(self, cursor: Any) -> None:
        if self._waiting or not self._is_open:
            self._send(cursor, "SELECT")

    def close(self) -> None:
        """Close the connection; closing twice is fine."""
        with suppress(psycopg2.Error):
            self._connection.close()


class Postgres:
    """A maker of sessions on one database; see shared.ports.Warehouse."""

    def __init__(self, database_url: str, connect_timeout_seconds: int = 5) -> None:
        self._database_url = database_url
        self._connect_timeout_seconds = connect_timeout_seconds

    def connect(self, name: str) -> PostgresSession:
        """Open a session; raises Unavailable when the server does not take it."""
        with _translated():
            connection = psycopg2.connect(
                self._database_url,
                connect_timeout=self._connect_timeout_seconds,
                options=_SESSION_OPTIONS.format(name=name.replace(" ", "-")),
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            )
        return PostgresSession(connection)

    @contextmanager
    def session(self, name: str) -> Iterator[PostgresSession]:
        """Open a session for a with-block; what is not committed by its end is rolled back."""
        session = self.connect(name)
        try:
            yield session
        finally:
            session.rollback()
            session.close()


def json_value(value: Any) -> Any:
    """Wrap a Python value so that it travels as json or jsonb."""
    return psycopg2.extras.Json(value)
