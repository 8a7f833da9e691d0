"""Events: CloudEvents 1.0 as JSON on Kafka. An event is a hint to look; the ledger is the truth."""

import json
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import UndecodableEvent

_NAMESPACE = uuid.UUID("b4f1a9f0-0a1d-5a57-9b1c-3b1e3d3f6a11")


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")
    schema_version: Literal[1] = Field(
        default=1, description="Of this payload; raised when old readers would misread it."
    )


class ObjectRef(_Data):
    """A version of an object; an empty version id means the newest."""

    bucket: str = Field(description="The bucket, bronze-layer.")
    key: str = Field(description="The object's key; its first folder is the dataset.")
    version_id: str = Field(default="", description="The version as the store names it; empty: the newest.")
    is_removal: bool = Field(default=False, description="The object was removed.")


class SilverChange(_Data):
    """A committed change set of one dataset."""

    dataset: str = Field(description="The dataset that changed.")
    change_set_id: str = Field(description="Its row in silver.change_sets, which says what changed.")
    object_id: str | None = Field(default=None, description="The object whose merge it was.")


class GoldRefresh(_Data):
    """The models that one refresh brought up to date."""

    models: list[str] = Field(description="The models, in the order of their refresh.")
    change_set_ids: list[str] = Field(description="The change sets that they show now.")
    rows_written: dict[str, int] = Field(description="Rows written, by model.")


class DeadLetter(_Data):
    """What was set aside, and where the whole of it is: a row of bronze.dead_letters."""

    dead_letter_id: int = Field(description="Its row in bronze.dead_letters, which holds payload and traceback.")
    topic: str = Field(description="The topic that it was set aside from.")
    reason: str = Field(description="What was met, in a sentence.")
    dataset: str | None = Field(default=None, description="The dataset, where it is known.")
    object_id: str | None = Field(default=None, description="The object, where it is known.")


class CloudEvent(BaseModel):
    """The CloudEvents envelope, attributes as the specification names them."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    specversion: Literal["1.0"] = Field(default="1.0", description="Version of CloudEvents.")
    id: str = Field(description="Computed from what the event speaks of: the same for every repeat.")
    source: str = Field(description="The service that sent it.")
    type: Literal[
        "medallion.bronze.ready", "medallion.silver.ready", "medallion.gold.ready", "medallion.dead.letter"
    ] = Field(description="What happened.")
    subject: str = Field(description="What it happened to, for people and filters.")
    time: datetime = Field(description="When it happened.")
    datacontenttype: str = Field(default="application/json", description="Of `data`.")
    data: dict[str, Any] = Field(description="What it says, by `type`.")

    def encode(self) -> bytes:
        """Return the event as it travels."""
        return self.model_dump_json().encode()


def _event(kind: Any, source: str, subject: str, time: datetime, data: _Data, identity: str) -> bytes:
    event = CloudEvent(
        id=str(uuid.uuid5(_NAMESPACE, f"{kind}\n{identity}")),
        source=source,
        type=kind,
        subject=subject,
        time=time,
        data=data.model_dump(),
    )
    return event.encode()


def bronze_ready(ref: ObjectRef, time: datetime) -> bytes:
    """Encode BronzeReady: an object version reached the bronze bucket. The id depends on the version alone."""
    identity = f"{ref.bucket}\n{ref.key}\n{ref.version_id}"
    return _event("medallion.bronze.ready", "medallion/ingestor", f"{ref.bucket}/{ref.key}", time, ref, identity)


def silver_ready(change: SilverChange, time: datetime) -> bytes:
    """Encode SilverReady: a change set was committed. The id depends on the change set alone."""
    return _event("medallion.silver.ready", "medallion/silver", change.dataset, time, change, change.change_set_id)


def gold_ready(refresh: GoldRefresh, time: datetime) -> bytes:
    """Encode GoldReady: models were refreshed from these change sets."""
    identity = "\n".join([*refresh.models, *refresh.change_set_ids])
    return _event("medallion.gold.ready", "medallion/gold", ",".join(refresh.models), time, refresh, identity)


def dead_letter(letter: DeadLetter, time: datetime) -> bytes:
    """Encode DeadLetter: an event or object was set aside. The id depends on the letter alone."""
    subject = letter.dataset or letter.topic
    return _event("medallion.dead.letter", "medallion", subject, time, letter, str(letter.dead_letter_id))


def read_bronze_ready(raw: bytes) -> Sequence[ObjectRef]:
    """Return the objects a bronze-ready message speaks of: one of ours, or an S3 notification with its Records.

    S3 keys arrive URL-encoded with plus signs for spaces. Raises UndecodableEvent.
    """
    body = _json(raw)
    try:
        if "Records" in body:
            return [_from_record(record) for record in body["Records"]]
        event = CloudEvent.model_validate(body)
        if event.type != "medallion.bronze.ready":
            raise UndecodableEvent(f"an event of type {event.type} does not belong on bronze-ready")
        return [ObjectRef.model_validate(event.data)]
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        raise UndecodableEvent(f"not a bronze-ready event: {error}") from error


def read_silver_ready(raw: bytes) -> SilverChange:
    """Return the change set a silver-ready message speaks of. Raises UndecodableEvent."""
    body = _json(raw)
    try:
        return SilverChange.model_validate(CloudEvent.model_validate(body).data)
    except ValidationError as error:
        raise UndecodableEvent(f"not a silver-ready event: {error}") from error


def _json(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UndecodableEvent(f"not JSON: {error}") from error
    if not isinstance(body, dict):
        raise UndecodableEvent(f"a JSON object was expected, not {type(body).__name__}")
    return body


def _from_record(record: dict[str, Any]) -> ObjectRef:
    s3 = record["s3"]
    version_id = s3["object"].get("versionId")
    return ObjectRef(
        bucket=s3["bucket"]["name"],
        key=unquote_plus(s3["object"]["key"]),
        version_id="" if version_id in (None, "null") else version_id,  # null: from before versioning was switched on
        is_removal=str(record.get("eventName", "")).startswith("s3:ObjectRemoved"),
    )
