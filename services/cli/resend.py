"""Dead letters sent on their way again."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from services.cli.announce import announce

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.ports import Session

Letter = Mapping[str, Any]
Message = tuple[str, str, bytes]  # topic, key, value


def resend(session: "Session", stack: "Stack", letters: Sequence[Letter]) -> dict[str, int]:
    """Announce failed objects, publish other events again, mark the letters as replayed; say how many of each.

    Raises Unavailable when an event cannot be published; letters that were not sent stay open. Objects do not
    depend on the broker: they are registered again, and the sweep announces them.
    """
    from shared import requests
    from shared.adapters.kafka import KafkaBus

    of_objects = [one for one in letters if one["object_id"]]
    events = [one for one in reversed(letters) if not one["object_id"]]  # oldest first
    refs = requests.try_again(session, sorted({one["object_id"] for one in of_objects}))
    announce(stack, session, refs)
    _mark(session, of_objects)
    bus, published = KafkaBus(stack.settings.kafka_bootstrap_servers), 0
    try:
        for letter in events:
            for message in messages_of(letter, lambda: _wake_up_gold(session, stack)):
                bus.publish(*message)
                published += 1
            _mark(session, [letter])
    finally:
        bus.close()
    return {"dead_letters": len(letters), "objects_announced": len(refs), "events_published": published}


def messages_of(letter: Letter, wake_up_gold: Callable[[], Iterable[Message]]) -> Iterator[Message]:
    """Yield what is published for a letter without an object: its payload, or where it has none what wakes gold.

    A letter without payload is gold's own: work that no event had asked for.
    """
    if letter["payload"]:
        yield (
            letter["topic"],
            letter["dataset"] or f"dead-letter-{letter['dead_letter_id']}",
            letter["payload"].encode(),
        )
    else:
        yield from wake_up_gold()


def _wake_up_gold(session: "Session", stack: "Stack") -> list[Message]:
    from shared.events import SilverChange, silver_ready
    from shared.landing import database_now
    from shared.settings import SILVER_READY

    return [
        (SILVER_READY, dataset, silver_ready(SilverChange(dataset=dataset, change_set_id=one), database_now(session)))
        for dataset, one in session.rows(stack.query("gold_pending_changes"))
    ]


def _mark(session: "Session", letters: Sequence[Letter]) -> None:
    session.execute(
        "UPDATE bronze.dead_letters SET status = 'replayed' WHERE dead_letter_id = ANY(%s)",
        ([one["dead_letter_id"] for one in letters],),
    )
    session.commit()


def sentence(done: Mapping[str, int]) -> str:
    """Say what was done."""
    return (
        f"{done['dead_letters']:,} dead letter(s) replayed: {done['objects_announced']:,} failed object(s) announced, "
        f"{done['events_published']:,} event(s) published again."
    )
