"""Which version is newer, where a store tells modification times in whole seconds and where it tells fractions."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.listing import Page, infos_of
from shared.version import drop_landed_at, version_of

SECOND = datetime(2026, 11, 26, 18, 42, 48, tzinfo=UTC)


def test_a_whole_second_means_its_end_unless_the_store_keeps_fractions() -> None:
    assert drop_landed_at(SECOND, is_exact=False) == SECOND + timedelta(microseconds=999_999)
    assert drop_landed_at(SECOND, is_exact=True) == SECOND
    assert drop_landed_at(SECOND + timedelta(milliseconds=40), is_exact=False) == SECOND + timedelta(milliseconds=40)


@given(st.integers(0, 2000), st.integers(0, 2000), st.uuids(), st.uuids())
def test_versions_of_a_key_are_ordered_as_a_store_with_fractions_dates_them(
    first_ms: int, after_ms: int, first: UUID, second: UUID
) -> None:
    at = SECOND + timedelta(milliseconds=first_ms)
    later = at + timedelta(milliseconds=after_ms)

    older, newer = (drop_landed_at(moment, is_exact=True) for moment in (at, later))

    assert version_of(older, 0, first) < version_of(newer, 1, second)


def test_a_listing_says_whether_its_times_are_exact() -> None:
    listing = """<ListVersionsResult><Version><Key>covid/a.csv</Key><VersionId>v</VersionId><ETag>"e"</ETag><Size>1</Size>
        <LastModified>2026-11-26T18:42:48.000Z</LastModified></Version></ListVersionsResult>"""
    root = ET.fromstring(listing)

    for is_exact in (True, False):
        [info] = infos_of("bronze-layer", Page(root, skips_keys=False, is_exact=is_exact))
        assert (info.last_modified, info.is_exact) == (SECOND, is_exact)
