"""Servers that somebody names for the tests: refused, and left as they are, where data lies in them."""

import pytest

from services.stack import Stack
from shared.adapters.s3 import open_s3
from shared.errors import ConfigurationError
from shared.settings import BRONZE_BUCKET
from tests.emptying import MARKER_BUCKET, claim_for_tests


@pytest.mark.embedded("it stands for servers that are not the tests' own")
def test_servers_with_data_in_them_are_refused_and_left_as_they_are(stack: Stack) -> None:
    store = open_s3(stack.settings)
    store.ensure_bucket(BRONZE_BUCKET, versioned=True)
    put = store.put_bytes(BRONZE_BUCKET, "users/precious.json", b"[]", {})

    with pytest.raises(ConfigurationError, match="holds data, and tests would remove it"):
        claim_for_tests(stack.settings)

    assert store.stat(BRONZE_BUCKET, put.key) == put
    assert not store._client.bucket_exists(MARKER_BUCKET)
