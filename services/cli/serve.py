"""Start and set up: `up`, `env`, `migrate`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from services.cli.options import DataDir, Json
from services.cli.output import complain, console, print_json, remark, table

if TYPE_CHECKING:
    from services.stack import Stack
    from shared.catalog import Catalog
    from shared.models import Models
    from shared.settings import Settings
    from shared.tables import Migration


def up(
    stack: Annotated[
        Literal["embedded", "external"],
        typer.Option("--stack", help="embedded: start the servers too. external: those that the settings name."),
    ] = "embedded",
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", metavar="DIR", help="Folder of data, logs and credentials. Default: .medallion"),
    ] = None,
    silver: Annotated[int, typer.Option("--silver", min=0, metavar="N", help="Silver workers.")] = 1,
    gold: Annotated[int, typer.Option("--gold", min=0, metavar="N", help="Gold workers.")] = 1,
    no_poll: Annotated[
        bool, typer.Option("--no-poll", help="Do not poll the sources; dropped files are still taken in.")
    ] = False,
) -> None:
    """Start servers and services and keep them running until Ctrl-C or SIGTERM.

    What dies is restarted. Stopping ends everything within ten seconds and leaves nothing running; the data
    stays in the folder, and the next `up` goes on with it.
    """
    from services.stack import run_stack
    from shared.settings import load_settings
    from shared.telemetry import configure_logging

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    configure_logging("up", settings.log_format, settings.log_level)
    load_configuration(settings)  # what is wrong there is said before anything starts
    remark(f"Starting the {stack} stack in {settings.data_dir} …")
    run_stack(
        settings, stack=stack, silver=silver, gold=gold, poll=not no_poll,
        prepare=prepare, recreate_topics=create_topics, take_in=take_in, on_ready=_show,
    )  # fmt: skip
    remark("Everything has stopped.")


def prepare(settings: "Settings") -> None:
    """Bring tables, buckets and topics to what configuration and models ask for; raises Unavailable."""
    migration = apply_migrations(settings)
    for difference in migration.undecided:
        complain(f"{difference}\n(left as it is; `medallion migrate` lists all of these)")
    create_topics(settings)  # before the buckets, whose store may announce to a topic
    create_buckets(settings)
    create_users(settings)


def take_in(settings: "Settings") -> list[str]:
    """Check a changed configuration and bring the servers to it; return its datasets.

    Raises ConfigurationError for what is wrong in it, before anything is changed, and Unavailable.
    """
    catalog, _ = load_configuration(settings)
    prepare(settings)
    return sorted(catalog.datasets)


def reload(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Have a running stack take in a changed configuration: new datasets, models and rules.

    Checks it, migrates, and restarts the services of `medallion up`; the servers go on, and work in hand is
    finished or rolled back. When something is wrong, nothing changes and the exit status is 2.
    """
    from services.stack import request_reload
    from shared.settings import load_settings

    settings = load_settings(**({"data_dir": data_dir} if data_dir else {}))
    datasets = request_reload(settings.data_dir)
    if as_json:
        print_json({"datasets": datasets})
        return
    console().print(f"Taken in; the datasets are: {', '.join(datasets)}.", soft_wrap=True)


def load_configuration(settings: "Settings") -> tuple["Catalog", "Models"]:
    """Read the dataset contracts and the gold models; raises ConfigurationError naming all that is wrong."""
    from shared.catalog import load_catalog
    from shared.models import load_models

    catalog = load_catalog(settings.dataset_dir)
    return catalog, load_models(settings.sql_dir, catalog.datasets)


def create_buckets(settings: "Settings") -> None:
    """Create the buckets that are missing, bronze-layer versioned and announced where asked; raises Unavailable."""
    from shared.adapters.s3 import open_s3
    from shared.settings import BRONZE_BUCKET, BUCKETS

    store = open_s3(settings)
    for bucket in BUCKETS:
        store.ensure_bucket(bucket, versioned=bucket == BRONZE_BUCKET)
    if settings.s3_notification_arn:
        store.ensure_notification(BRONZE_BUCKET, settings.s3_notification_arn.replace(" ", "").split(","))


def create_users(settings: "Settings") -> None:
    """Make the object store's users whose passwords are set; raises Unavailable, ConfigurationError."""
    from shared.adapters.s3users import ensure_users
    from shared.roles import passwords

    if password_by_who := passwords(settings):
        ensure_users(settings, password_by_who)


def create_topics(settings: "Settings") -> None:
    """Create the topics that are missing; raises Unavailable."""
    from shared.adapters.kafka import KafkaBus, topics

    bus = KafkaBus(settings.kafka_bootstrap_servers)
    try:
        bus.ensure_topics(topics(settings))
    finally:
        bus.close()


def apply_migrations(settings: "Settings") -> "Migration":
    """Apply what is missing in the database; raises ConfigurationError for wrong files, Unavailable."""
    from shared.adapters.postgres import Postgres
    from shared.migrate import migrate as apply
    from shared.roles import passwords

    catalog, models = load_configuration(settings)
    assert settings.database_url is not None
    with Postgres(settings.database_url.get_secret_value()).session("migrate") as session:
        return apply(session, settings.sql_dir, catalog, models, passwords(settings))


def _show(stack: "Stack") -> None:
    """Say where everything listens and what to try."""
    settings = stack.settings
    at = f" --data-dir {shlex.quote(str(settings.data_dir))}"
    rows = [
        ("PostgreSQL", _without_password(stack.endpoints["MEDALLION_DATABASE_URL"])),
        ("object store (S3)", f"http{'s' * settings.s3_secure}://{settings.s3_endpoint}   bucket bronze-layer"),
        ("Kafka", settings.kafka_bootstrap_servers),
        ("data and logs", f"{settings.data_dir}   {settings.data_dir}/logs"),
        ("metrics and health", _monitors(stack)),
        ("processes", ", ".join(f"{name} ({child.pid})" for name, child in stack.children.items())),
    ]
    console().print(table("The pipeline is running.", ("what", "where"), rows))
    console().print(f"Look: medallion status{at}", soft_wrap=True)
    console().print(f'Passwords, for psql and S3 clients: eval "$(medallion env{at})"', soft_wrap=True)
    console().print("Stop: Ctrl-C")


def _monitors(stack: "Stack") -> str:
    places = [f"{name} {child.monitor}" for name, child in stack.children.items() if child.monitor]
    return "\n".join([*places, "/metrics, /health/ready and /health/live"]) if places else "not served"


def _without_password(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    return f"postgresql://{parts.username}@{host}{parts.path}"


def env(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print where the running stack listens, as `export MEDALLION_…=…` lines for shells.

    Passwords are among them. Use it as: eval "$(medallion env)"
    """
    from services.cli.connect import find_stack
    from services.stack.programs import endpoint_environment

    variables = endpoint_environment(find_stack(data_dir).settings)
    if as_json:
        print_json(variables)
        return
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")


def migrate(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring database, buckets and topics to what config/ and sql/ ask for.

    Creates what is missing and adds columns, under a lock; makes the logins whose passwords are set. Prints other
    differences with the SQL that would settle them, does not touch them, and exits with 1.
    """
    from services.cli.connect import find_stack

    settings = find_stack(data_dir).settings
    migration = apply_migrations(settings)
    create_topics(settings)
    create_buckets(settings)
    create_users(settings)
    if as_json:
        print_json({"applied": migration.applied, "undecided": migration.undecided})
    else:
        for line in migration.applied:
            console().print(f"applied: {line}", soft_wrap=True, markup=False)
        if not migration.applied:
            console().print("The database is up to date.")
        for line in migration.undecided:
            complain(f"not done, decide yourself: {line}")
    if migration.undecided:
        raise typer.Exit(1)
