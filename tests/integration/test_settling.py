"""`settle` believes the bucket, not only what was announced so far."""

from services.cli.connect import Stack
from services.cli.settle import found_more
from shared.adapters.postgres import Postgres
from shared.settings import BRONZE_BUCKET
from tests.pipeline import Pipeline


def test_what_nobody_has_announced_yet_is_outstanding(pipeline: Pipeline) -> None:
    assert pipeline.settings.database_url is not None
    stack = Stack(pipeline.settings, "the test's", Postgres(pipeline.settings.database_url.get_secret_value()))
    found_more(stack)  # what other tests left in the bucket that all share
    pipeline.store.put_bytes(BRONZE_BUCKET, "users/unannounced.json", b'[{"id": 1, "name": "Ann"}]', {})

    assert found_more(stack)
    assert not found_more(stack)
