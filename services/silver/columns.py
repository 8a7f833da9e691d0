"""Columns that files bring: made in the transaction, and under the dataset's lock, of the first object that has values.

Which columns a row has follows from its file and the contract alone; the tables only ever gain columns that some valid
object has values of. So their set, like the rows, is the same in the end whatever the order.
"""

import logging

from services.silver.job import Held, Job, ObjectVersion
from shared.dataset import Dataset
from shared.ddl import clean_columns
from shared.errors import MedallionError
from shared.ports import Session

log = logging.getLogger("silver")

_COLUMNS = "SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"


class NoTable(MedallionError):
    """The object's dataset has no table, and its contract says to let such objects lie."""


def expect_tables(session: Session, dataset: Dataset, obj: ObjectVersion) -> None:
    """Raise NoTable, or Held under `tables: freeze`, where a dataset lacks its table or columns that it declares."""
    mode = dataset.schema_contract.tables
    if mode == "evolve":
        return
    existing = {name for (name,) in session.rows(_COLUMNS, (dataset.clean_table,))}
    session.commit()
    missing = [name for name in clean_columns(dataset) if name not in existing]
    if not existing and mode != "freeze":
        raise NoTable(
            f"{dataset.clean_table} does not exist, and `schema_contract.tables: {mode}` lets files of such datasets lie. "
            f"With `tables: evolve` and after `medallion migrate`, land the file again"
        )
    if missing:
        raise Held(
            f"{dataset.clean_table} {'lacks ' + ', '.join(missing) if existing else 'does not exist'}, and "
            "`schema_contract.tables: freeze` leaves that to you: run the SQL that `medallion migrate` prints, then "
            f"`medallion approve {obj.object_id}`"
        )


def take_columns_in(job: Job) -> None:
    """Add the columns to the dataset's tables that its file has values of and they lack.

    Raises Held when the dataset would get more of them than its contract allows: a person raises the limit, or
    withdraws what filled it.
    """
    fresh = [name for name in job.evolved if name not in job.state.evolved]
    if not fresh:
        return
    origins = [job.file.tally.evolved[name] for name in fresh]
    problem = job.session.rows(
        "SELECT bronze.evolve(%s, %s, %s, %s)", (job.dataset.name, fresh, origins, job.obj.object_id)
    )[0][0]
    if problem:
        raise Held(
            f"{problem}. After a change in config/datasets/{job.dataset.name}.yaml run `medallion migrate`, restart the "
            f"workers, then `medallion approve {job.obj.object_id}`"
        )
    job.new_columns = tuple(fresh)
    log.warning(
        "A file brought its dataset new columns.",
        extra={
            "action": "schema_evolved", "dataset": job.dataset.name, "object_id": job.obj.object_id,
            "columns": dict(zip(fresh, origins, strict=True)),
        },
    )  # fmt: skip
