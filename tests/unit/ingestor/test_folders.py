"""Which folders a sweep may leave out, and that it lists everything else."""

from datetime import date

from fakes import FakeStore
from hypothesis import given
from hypothesis import strategies as st

from services.ingestor.folders import PastDays, day_folder, without

TODAY = date(2026, 5, 10)


def test_only_days_that_are_over_have_a_folder_to_leave_out() -> None:
    folders = {
        key: day_folder(key, TODAY)
        for key in (
            "covid/ingest_date=2026-05-08/a.csv",
            "covid/ingest_date=2026-05-09/a.csv",
            "covid/ingest_date=2026-05-11/a.csv",
            "covid/ingest_date=2026-02-30/a.csv",
            "covid/ingest_date=2026-05-08.csv",
            "covid/x/ingest_date=2026-05-08/a.csv",
            "covid/a.csv",
        )
    }

    assert {key: folder for key, folder in folders.items() if folder} == {
        "covid/ingest_date=2026-05-08/a.csv": "covid/ingest_date=2026-05-08/"
    }


def test_a_folder_with_an_object_that_the_ledger_did_not_take_is_listed_again() -> None:
    past = PastDays()
    past.note("covid/ingest_date=2026-05-01/a.csv", TODAY)
    past.note("covid/ingest_date=2026-05-02/a.csv", TODAY)
    past.spoil("covid/ingest_date=2026-05-02/a.csv", TODAY)
    past.finish(began_seconds=0, now_seconds=1)

    assert past.known == {"covid/ingest_date=2026-05-01/"}


def test_the_whole_bucket_is_listed_as_often_as_its_share_of_time_allows() -> None:
    past = PastDays()
    assert not past.may_be_left_out(now_seconds=100, share_max=0.1)
    past.note("covid/ingest_date=2026-05-01/a.csv", TODAY)
    past.finish(began_seconds=100, now_seconds=104)

    assert past.may_be_left_out(now_seconds=143, share_max=0.1)
    assert not past.may_be_left_out(now_seconds=145, share_max=0.1)
    past.clear()
    assert not past.may_be_left_out(now_seconds=143, share_max=0.1)


keys = st.builds(
    "/".join,
    st.lists(st.sampled_from(["covid", "ingest_date=2026-05-01", "ingest_date=2026-05-02", "a.csv"]), min_size=1),
)


@given(st.lists(keys, max_size=12), st.sets(st.sampled_from(["covid/ingest_date=2026-05-01/", "a.csv/covid/"])))
def test_everything_but_the_folders_left_out_is_listed(put: list[str], left_out: set[str]) -> None:
    store = FakeStore()
    store.ensure_bucket("bronze-layer", versioned=True)
    for key in put:
        store.put_bytes("bronze-layer", key, b"", {})

    listed = sorted(info.key for info in without(store, "bronze-layer", left_out))

    assert listed == sorted(key for key in put if not key.startswith(tuple(left_out) or "\0"))
