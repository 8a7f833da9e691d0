"""The AsyncAPI document of the topics, from the types in shared/events.py: keys, attributes, payloads, examples."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from shared import settings
from shared.events import (
    CloudEvent,
    DeadLetter,
    GoldRefresh,
    ObjectRef,
    SilverChange,
    bronze_ready,
    dead_letter,
    gold_ready,
    silver_ready,
)

FILE = "asyncapi.yaml"
VERSION = "1.0.0"  # of what the events say; its first number is their schema_version
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_OBJECT_ID = "0b7e4f6c-93d5-5c1a-8a57-2f1f0e9c4b11"
_CHANGE_SET_ID = "6f0c9a52-5d3e-4b7f-9d0e-3c2b1a098f77"


@dataclass(frozen=True)
class Topic:
    """A topic: what travels on it, under which key, and who sends and takes it."""

    name: str
    message: str
    data: type[BaseModel]
    key: str
    sent_by: str
    taken_by: str
    summary: str
    example: bytes


TOPICS = (
    Topic(
        settings.BRONZE_READY, "BronzeReady", ObjectRef, "the object's key", "ingestor, and the object store itself",
        "silver, each message by one worker", "A version of an object reached the bronze bucket: look at it now.",
        bronze_ready(ObjectRef(bucket="bronze-layer", key="covid/new-day.csv", version_id="3f2a"), _NOON),
    ),
    Topic(
        settings.SILVER_READY, "SilverReady", SilverChange, "the dataset", "silver", "gold, each message by one worker",
        "A change set of a dataset was committed: refresh what it touches.",
        silver_ready(SilverChange(dataset="covid", change_set_id=_CHANGE_SET_ID, object_id=_OBJECT_ID), _NOON),
    ),
    Topic(
        settings.GOLD_READY, "GoldReady", GoldRefresh, "the first of its models", "gold",
        "whoever shows gold: BI tools, alerts", "These models were brought up to date.",
        gold_ready(
            GoldRefresh(
                models=["covid_country_trends"],
                change_set_ids=[_CHANGE_SET_ID],
                rows_written={"covid_country_trends": 14},
            ),
            _NOON,
        ),
    ),
    Topic(
        settings.DEAD_LETTERS, "DeadLetter", DeadLetter, "the topic it was set aside from", "silver, gold",
        "whoever watches", "An event nobody could read, or an object that met a bug, was set aside whole.",
        dead_letter(
            DeadLetter(dead_letter_id=7, topic="bronze-ready", reason="UndecodableEvent: not JSON", dataset=None), _NOON
        ),
    ),
)  # fmt: skip


def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Events of medallion",
            "version": VERSION,
            "description": "CloudEvents 1.0 as JSON on Kafka, in structured mode. An event is a hint to look and never "
            "carries data: it may come twice, late or not at all, and the ledger in PostgreSQL is the truth. "
            "The id of an event follows from what it speaks of, so that repeats can be told.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in TOPICS},
        "operations": {
            f"{verb}{topic.message}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "summary": f"By {who(topic)}.",
            }
            for topic in TOPICS
            for verb, action, who in _OPERATIONS
        },
        "components": {
            "messages": {**{topic.message: _message(topic) for topic in TOPICS}, "S3Notification": _NOTIFICATION},
            "schemas": {topic.data.__name__: _schema(topic.data) for topic in TOPICS},
        },
    }


_OPERATIONS: tuple[tuple[str, str, Callable[[Topic], str]], ...] = (
    ("send", "send", lambda topic: topic.sent_by),
    ("take", "receive", lambda topic: topic.taken_by),
)


def _channel(topic: Topic) -> dict[str, Any]:
    messages = {topic.message: {"$ref": f"#/components/messages/{topic.message}"}}
    if topic.name == settings.BRONZE_READY:
        messages["S3Notification"] = {"$ref": "#/components/messages/S3Notification"}
    return {"address": topic.name, "description": topic.summary, "messages": messages}


def _message(topic: Topic) -> dict[str, Any]:
    example = json.loads(topic.example)
    envelope = _schema(CloudEvent)
    envelope["properties"] |= {
        "type": {"const": example["type"]},
        "data": {"$ref": f"#/components/schemas/{topic.data.__name__}"},
    }
    return {
        "name": example["type"],
        "summary": topic.summary,
        "contentType": "application/cloudevents+json",
        "payload": envelope,
        "bindings": {"kafka": {"key": {"type": "string", "description": f"UTF-8: {topic.key}."}}},
        "examples": [{"payload": example}],
    }


_NOTIFICATION: dict[str, Any] = {
    "name": "s3.notification",
    "summary": "The object store's own notification, taken as it comes; every record is an object version.",
    "contentType": "application/json",
    "payload": {
        "type": "object",
        "required": ["Records"],
        "properties": {
            "Records": {
                "type": "array",
                "description": "Keys in them are URL-encoded, with plus signs for spaces.",
                "items": {
                    "type": "object",
                    "required": ["s3"],
                    "properties": {
                        "eventName": {
                            "type": "string",
                            "description": "s3:ObjectCreated:… or s3:ObjectRemoved:…",
                        },
                        "s3": {"type": "object", "required": ["bucket", "object"]},
                    },
                },
            }
        },
    },
    "examples": [
        {
            "payload": {
                "Records": [
                    {
                        "eventName": "s3:ObjectCreated:Put",
                        "s3": {
                            "bucket": {"name": "bronze-layer"},
                            "object": {"key": "covid/new+day.csv", "versionId": "3f2a"},
                        },
                    }
                ]
            }
        }
    ],
}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema(mode="serialization")
    for field in schema["properties"].values():
        field.pop("title", None)
    return schema
