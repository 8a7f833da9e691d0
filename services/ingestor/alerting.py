"""Tell people what is wrong: look → compare with what is known → write messages → send.

What is open, what was said and what was not delivered yet are rows, so that a restart neither forgets nor repeats. Of
several ingestors one looks at a time, and a message is claimed before it is sent. A crash between sending and noting
that may send one twice; its id is the same. Only while PostgreSQL is away this process alone knows, and tells at once.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.alerts import Channel, Message, NotDelivered, Trouble, compose, is_told, message_from, pause_seconds
from shared.arrivals import stale
from shared.catalog import Catalog
from shared.errors import Unavailable
from shared.metrics import ALERT_MESSAGES, NO_METRICS, Metrics
from shared.ports import Session, Warehouse
from shared.queries import load_query
from shared.settings import Settings

log = logging.getLogger("alerts")

_LOCK = 0x616C_6572_7473  # "alerts"
SENDS_MAX = 20  # in one round; the next one goes on

_OPEN = "SELECT alert_id, kind, subject, message FROM bronze.alerts WHERE closed_at IS NULL"
_OPENED = """
INSERT INTO bronze.alerts (kind, subject, dataset, severity, message)
SELECT kind, subject, dataset, severity, message
FROM jsonb_to_recordset(%s::jsonb) AS t (kind text, subject text, dataset text, severity text, message text)
ON CONFLICT (kind, subject) WHERE closed_at IS NULL DO UPDATE SET severity = excluded.severity, message = excluded.message
WHERE (alerts.severity, alerts.message) IS DISTINCT FROM (excluded.severity, excluded.message)
"""
_CLOSED = """
UPDATE bronze.alerts SET closed_at = clock_timestamp() WHERE alert_id = ANY(%s)
RETURNING told_at IS NOT NULL, kind, subject, dataset, severity, message
"""
_DUE = """
SELECT alert_id, kind, subject, dataset, severity, message FROM bronze.alerts a
WHERE closed_at IS NULL AND told_at IS NULL
  AND NOT EXISTS (SELECT FROM bronze.alert_messages m WHERE m.kind = a.kind AND m.status = 'open'
                  AND m.created_at > clock_timestamp() - make_interval(secs => %(cooldown)s))
  AND EXISTS (SELECT FROM bronze.alerts o WHERE o.kind = a.kind AND o.closed_at IS NULL AND o.told_at IS NULL
              AND o.opened_at <= clock_timestamp() - make_interval(secs => %(after)s))
ORDER BY kind, alert_id
"""
_CLAIM = """
UPDATE bronze.alert_deliveries d SET attempts = d.attempts + 1,
    next_attempt_at = clock_timestamp() + make_interval(secs => %s)
FROM (
    SELECT message_id, channel FROM bronze.alert_deliveries
    WHERE delivered_at IS NULL AND given_up_at IS NULL AND next_attempt_at <= clock_timestamp() AND channel = ANY(%s)
    ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
) due JOIN bronze.alert_messages m USING (message_id)
WHERE d.message_id = due.message_id AND d.channel = due.channel
RETURNING d.channel, m.message, d.attempts
"""
_SENT = """
UPDATE bronze.alert_deliveries SET delivered_at = clock_timestamp(), error_message = NULL
WHERE message_id = %s AND channel = %s
"""
_NOT_SENT = """
UPDATE bronze.alert_deliveries SET error_message = %s, next_attempt_at = clock_timestamp() + make_interval(secs => %s),
    given_up_at = CASE WHEN attempts >= %s THEN clock_timestamp() END
WHERE message_id = %s AND channel = %s
"""


@dataclass
class _Outage:
    """PostgreSQL's, which no table can hold."""

    began_seconds: float
    is_told: bool = False


class Alerter:
    """One ingestor's share in telling people; `round` is called again and again by one thread."""

    def __init__(
        self,
        warehouse: Warehouse,
        settings: Settings,
        catalog: Catalog,
        channels: Mapping[str, Channel],
        servers_away: Callable[[], Sequence[tuple[str, str]]] = lambda: (),  # name and reason, PostgreSQL aside
        metrics: Metrics = NO_METRICS,
    ) -> None:
        self._warehouse, self._settings, self._catalog = warehouse, settings, catalog
        self._channels, self._servers_away, self._metrics = channels, servers_away, metrics
        self._troubles = load_query(settings.sql_dir, "alert_troubles")
        self._arrivals = load_query(settings.sql_dir, "arrivals")
        self._outage: _Outage | None = None

    def round(self) -> None:
        """Look once, and send what is due. Raises Unavailable while PostgreSQL is away, which is told without it."""
        try:
            with self._warehouse.session("ingestor-alerts") as session:
                self._look(session)
                self._send_due(session)
        except Unavailable as error:
            self._tell_outage(error)
            raise
        self._tell_return()

    def _look(self, session: Session) -> None:
        if session.rows("SELECT pg_try_advisory_xact_lock(%s)", (_LOCK,))[0][0]:
            self._compare(session, self._found(session))
        session.commit()

    def _found(self, session: Session) -> list[Trouble]:
        silence = {"silence": self._settings.heartbeat_silence_seconds}
        found = [Trouble(*row) for row in session.rows(self._troubles, silence)]
        found += stale(self._catalog, [(row[0], row[1], row[2]) for row in session.rows(self._arrivals)])
        found += [Trouble("server", name, None, "error", f"{name}: {why}") for name, why in self._servers_away()]
        return [one for one in found if is_told(one.severity, self._settings.alert_severity_min)]

    def _compare(self, session: Session, found: Sequence[Trouble]) -> None:
        """Open what is new, close what is over, and write the messages about both."""
        wrong = {(one.kind, one.subject): one for one in found}
        known = {(kind, subject): (alert_id, said) for alert_id, kind, subject, said in session.rows(_OPEN)}
        fresh = [vars(one) for key, one in wrong.items() if key not in known or known[key][1] != one.message]
        if fresh:
            session.execute(_OPENED, (json.dumps(fresh, ensure_ascii=False),))
        over = [alert_id for key, (alert_id, _) in known.items() if key not in wrong]
        if over:
            closed = [Trouble(*row[1:]) for row in session.rows(_CLOSED, (over,)) if row[0]]
            for kind, troubles in _by_kind(closed).items():
                self._write(session, compose(kind, "recovered", troubles))
        settings = self._settings
        waits = {"cooldown": settings.alert_cooldown_seconds, "after": settings.alert_after_seconds}
        due = session.rows(_DUE, waits)
        for kind, troubles in _by_kind([Trouble(*row[1:]) for row in due]).items():
            self._write(session, compose(kind, "open", troubles))
        told = [row[0] for row in due]
        session.execute("UPDATE bronze.alerts SET told_at = clock_timestamp() WHERE alert_id = ANY(%s)", (told,))

    def _write(self, session: Session, message: Message) -> None:
        session.execute(
            "INSERT INTO bronze.alert_messages (message_id, kind, status, message) VALUES (%s, %s, %s, %s::jsonb)",
            (message.message_id, message.kind, message.status, json.dumps(message.as_json(), ensure_ascii=False)),
        )
        session.execute(
            "INSERT INTO bronze.alert_deliveries (message_id, channel) SELECT %s, unnest(%s::text[])",
            (message.message_id, list(self._channels)),
        )

    def _send_due(self, session: Session) -> None:
        """Send what is due; a channel that fails is left alone until the next round, so that it holds nothing up."""
        working = list(self._channels)
        lease = pause_seconds(1, 0, self._settings.alert_timeout_seconds)
        for _ in range(SENDS_MAX):
            claimed = session.rows(_CLAIM, (lease, working))
            session.commit()
            if not claimed:
                return
            channel, kept, attempts = claimed[0]
            message = message_from(kept)
            failure = self._sent(channel, message)
            if failure is None:
                session.execute(_SENT, (message.message_id, channel))
            else:
                working.remove(channel)
                self._note_failure(session, message, channel, attempts, failure)
            session.commit()

    def _note_failure(self, session: Session, message: Message, channel: str, attempts: int, failure: str) -> None:
        settings = self._settings
        pause = pause_seconds(attempts, settings.alert_retry_seconds, settings.alert_timeout_seconds)
        last = settings.alert_attempts_max
        session.execute(_NOT_SENT, (failure, pause, last, message.message_id, channel))
        log.error(
            "An alert was not delivered." if attempts < last else "An alert was not delivered, and is given up.",
            extra={"action": "alert_not_delivered", "channel": channel, "attempts": attempts, "reason": failure},
        )

    def _sent(self, channel: str, message: Message) -> str | None:
        """Send a message; return why that failed, None if it did not."""
        try:
            self._channels[channel].send(message)
        except NotDelivered as error:
            self._metrics.count(ALERT_MESSAGES, channel, "failed")
            return str(error)
        except Exception as error:  # noqa: BLE001 - one channel's bug must not silence the others; it is logged and kept
            self._metrics.count(ALERT_MESSAGES, channel, "failed")
            return f"unexpected {type(error).__name__}"
        self._metrics.count(ALERT_MESSAGES, channel, "sent")
        return None

    def _tell_outage(self, error: Unavailable) -> None:
        """Tell of an outage that no table can hold, once it has lasted; a restart meanwhile tells it again."""
        self._outage = self._outage or _Outage(time.monotonic())
        lasts = time.monotonic() - self._outage.began_seconds
        if not self._outage.is_told and lasts >= self._settings.alert_after_seconds:
            self._outage.is_told = True
            self._tell_at_once(compose("server", "open", [_outage(str(error))]))

    def _tell_return(self) -> None:
        if self._outage is not None and self._outage.is_told:
            self._tell_at_once(compose("server", "recovered", [_outage("PostgreSQL is back")]))
        self._outage = None

    def _tell_at_once(self, message: Message) -> None:
        for channel in self._channels:
            failure = self._sent(channel, message)
            if failure is not None:
                log.error("An alert was not delivered.", extra={"action": "alert_not_delivered", "reason": failure})


def _outage(message: str) -> Trouble:
    return Trouble("server", "PostgreSQL", None, "error", message)


def _by_kind(troubles: Sequence[Trouble]) -> dict[str, list[Trouble]]:
    grouped: dict[str, list[Any]] = {}
    for one in troubles:
        grouped.setdefault(one.kind, []).append(one)
    return grouped
