"""Put files into the bronze bucket: `land`."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.announce import announce_one
from services.cli.options import DataDir, Json
from services.cli.output import bytes_text, console, errors, print_json, remark
from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from services.cli.connect import Stack
    from shared.catalog import Catalog
    from shared.dataset import Dataset, Disposition
    from shared.landing import Landing
    from shared.ports import ObjectStore

PROGRESS_FROM_BYTES = 8_000_000


def land(
    dataset: Annotated[str, typer.Argument(help="The dataset that the files belong to.", metavar="DATASET")],
    files: Annotated[list[Path], typer.Argument(help="Files of that dataset's format.", metavar="FILE…")],
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="A full snapshot: keys that it lacks are removed.")
    ] = False,
    merge: Annotated[bool, typer.Option("--merge", help="Some rows: new ones and corrections; removes none.")] = False,
    landed_at: Annotated[
        str | None,
        typer.Option("--landed-at", metavar="TIME", help="Date it back (ISO 8601, UTC unless it says otherwise)."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Put files into the bronze bucket, as dropping them by an S3 client would.

    Without --snapshot or --merge a file is applied as the dataset's `drops` say. The newest wins; --landed-at,
    for backfills, says that a file is older than today. Follow it with `medallion settle` to wait for silver
    and gold.
    """
    from services.cli.connect import find_stack
    from shared.catalog import load_catalog

    moment = moment_of(landed_at, "--landed-at")
    _check_files(files, moment)
    stack = find_stack(data_dir)
    catalog = load_catalog(stack.settings.dataset_dir)
    contract = catalog[dataset]
    landed = land_files(stack, catalog, contract, files, _disposition(contract, snapshot, merge), moment)
    if as_json:
        print_json(landed)
        return
    for one in landed:
        console().print(f"{one['object_id']}  {one['object_key']}", soft_wrap=True, markup=False)


def land_files(
    stack: "Stack",
    catalog: "Catalog",
    contract: "Dataset",
    files: Sequence[Path],
    disposition: "Disposition | None" = None,
    moment: datetime | None = None,
    source_url: str = "",
) -> list[dict[str, Any]]:
    """Land files of one dataset, as drops unless told otherwise; `source_url` is recorded instead of the file, if given."""
    from shared.adapters.s3 import open_s3

    wanted = disposition or contract.drops.write_disposition
    landings = [_landing(contract, path, wanted, moment, source_url or path.resolve().as_uri()) for path in files]
    return _land_all(stack, catalog, open_s3(stack.settings), landings)


def moment_of(text: str | None, option: str) -> datetime | None:
    """Return the time that an option gives; raises ConfigurationError when it is none."""
    if text is None:
        return None
    from shared.described import FIRST_YEAR

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option}: {text!r} is no time; write it as 2022-04-16 or 2022-04-16T06:00:00+00:00"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment.year < FIRST_YEAR:
        raise ConfigurationError(f"--landed-at: {text!r} is before {FIRST_YEAR}, where the order of versions begins")
    return moment


def _check_files(files: Sequence[Path], moment: datetime | None) -> None:
    """Raise ConfigurationError for files that cannot be landed, before anything is."""
    for path in files:
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder; name its files, for instance {path}/*")
        if not path.is_file():
            raise ConfigurationError(f"{path} does not exist; nothing was landed")
    if moment is not None and len(files) > 1:
        raise ConfigurationError(
            f"--landed-at dates one file, {len(files)} were given: which of them wins would be chance. "
            "Land them one by one, each with its own time"
        )


def _disposition(contract: "Dataset", is_snapshot: bool, is_merge: bool) -> "Disposition":
    if is_snapshot and is_merge:
        raise ConfigurationError("--snapshot and --merge exclude each other; give one, or neither")
    if contract.is_append and (is_snapshot or is_merge):
        raise ConfigurationError(
            f"dataset {contract.name} is append-only: every file adds its rows; leave --snapshot and --merge out"
        )
    if is_snapshot:
        return "replace"
    return "merge" if is_merge else contract.drops.write_disposition


def _landing(
    contract: "Dataset", path: Path, disposition: "Disposition", moment: datetime | None, source_url: str
) -> "Landing":
    from shared.landing import Landing

    return Landing(contract, path, path.name, disposition, source_url, moment)


def _land_all(
    stack: "Stack", catalog: "Catalog", store: "ObjectStore", landings: Sequence["Landing"]
) -> list[dict[str, Any]]:
    """Land, register and announce each file; show progress where there is much of it."""
    from shared.adapters.kafka import KafkaBus
    from shared.events import ObjectRef

    total = sum(landing.path.stat().st_size for landing in landings)
    bus, landed, is_announced = KafkaBus(stack.settings.kafka_bootstrap_servers), [], True
    with ExitStack() as cleanup:
        cleanup.callback(bus.close)
        session = cleanup.enter_context(stack.session("land"))
        advance = _progress(cleanup, total) if total >= PROGRESS_FROM_BYTES else lambda _: None
        for landing in landings:
            info, found = _land_one(session, store, catalog, landing)
            ref = ObjectRef(bucket=info.bucket, key=info.key, version_id=info.version_id)
            is_announced = is_announced and announce_one(session, bus, ref)
            landed.append(
                {"object_id": str(found.object_id), "object_key": info.key, "version_id": info.version_id,
                 "dataset": landing.dataset.name, "write_disposition": landing.write_disposition,
                 "size_bytes": info.size_bytes}
            )  # fmt: skip
            advance(info.size_bytes)
    if not is_announced:
        remark("Kafka is away: the files are landed and on record, and the next sweep announces them.")
    return landed


def _land_one(session: Any, store: "ObjectStore", catalog: "Catalog", landing: "Landing") -> tuple[Any, Any]:
    from shared.landing import land as store_file
    from shared.ledger import register_known

    info = store_file(session, store, landing)
    found = register_known(session, store, catalog, info, "cli")
    assert found is not None  # what was just stored is no delete marker
    return info, found


def _progress(cleanup: ExitStack, total: int) -> Any:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(f"Landing {bytes_text(total)}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    progress = cleanup.enter_context(Progress(*columns, console=errors(), transient=True))
    task = progress.add_task("land", total=total)
    return lambda size: progress.update(task, advance=size)
