"""Every setting of the pipeline: one class, read from the environment, `.env` and `config/config.yaml`.

Precedence: environment, then `.env`, then `config/config.yaml`, then the default written here.
"""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from shared.errors import ConfigurationError

BRONZE_BUCKET, SILVER_BUCKET, GOLD_BUCKET = "bronze-layer", "silver-layer", "gold-layer"
BUCKETS = (BRONZE_BUCKET, SILVER_BUCKET, GOLD_BUCKET)
BRONZE_READY, SILVER_READY, GOLD_READY, DEAD_LETTERS = (
    "bronze-ready",
    "silver-ready",
    "gold-ready",
    "dead-letters",
)

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def data_file_root(name: str) -> Path:
    """Return the folder of plain data called `name` (`config` or `sql`): the checkout's, else the installed copy."""
    checkout = _CHECKOUT / name
    return checkout if checkout.is_dir() else _PACKAGE / "_bundled" / name


class Settings(BaseSettings):
    """Settings of every process. The environment variable is the name in capitals with the prefix `MEDALLION_`."""

    model_config = SettingsConfigDict(
        env_prefix="MEDALLION_", env_file=".env", extra="ignore", env_ignore_empty=True, frozen=True
    )

    # Where the servers are.
    database_url: SecretStr | None = Field(None, description="PostgreSQL to use, as a postgresql:// URL.")
    kafka_bootstrap_servers: str = Field("", description="Kafka brokers, host:port, comma-separated.")
    s3_endpoint: str = Field("", description="Object store, host:port without a scheme.")
    s3_access_key: SecretStr = Field(SecretStr(""), description="Access key of the object store.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="Secret key of the object store.")
    s3_secure: bool = Field(False, description="Speak TLS to the object store.")
    s3_notification_arn: str = Field(
        "",
        description="`migrate` has the store announce bronze-layer to these targets, comma-separated.",
    )

    # Who may log in: with a password, `migrate` makes the login medallion_<name> in PostgreSQL and the object store.
    ingestor_password: SecretStr = Field(
        SecretStr(""), description="`migrate` makes the ingestor's own login with it; empty: none."
    )
    silver_password: SecretStr = Field(
        SecretStr(""), description="`migrate` makes the silver workers' own login with it; empty: none."
    )
    gold_password: SecretStr = Field(
        SecretStr(""), description="`migrate` makes the gold workers' own login with it; empty: none."
    )
    reader_password: SecretStr = Field(
        SecretStr(""), description="`migrate` makes a login that reads silver and gold with it; empty: none."
    )
    dropper_password: SecretStr = Field(
        SecretStr(""), description="`migrate` makes an S3 login that drops files into bronze with it; empty: none."
    )

    # Where things lie.
    config_dir: Path = Field(
        default_factory=lambda: data_file_root("config"),
        description="Folder of config.yaml and datasets/*.yaml.",
    )
    sql_dir: Path = Field(
        default_factory=lambda: data_file_root("sql"),
        description="Folder of the SQL files (gold models among them).",
    )
    data_dir: Path = Field(Path(".medallion"), description="Folder of the embedded servers' data and of scratch files.")

    # Logs and metrics.
    log_format: Literal["json", "text"] = Field("text", description="Log lines as JSON or as text.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged.")
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port of metrics and health; 0: none, in the embedded stack a free one each."
    )
    bind_host: str = Field("127.0.0.1", description="Address on which services listen (webhook, metrics, health).")

    # Ingestor.
    sweep_interval_seconds: float = Field(30, gt=0, description="Pause between two sweeps of bucket against ledger.")
    full_sweep_interval_seconds: float = Field(
        600, gt=0, description="After so long a sweep asks the ledger also about what the sweeps before it knew."
    )
    listing_share_max: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of time for listing the whole bucket; between, known past days are left out.",
    )
    reannounce_after_seconds: float = Field(
        20,
        gt=0,
        description="An unfinished object or unconsumed change set older than this is announced again.",
    )
    webhook_port: int = Field(0, ge=0, le=65535, description="Port for the object store's change webhook; 0 for none.")
    poll_enabled: bool = Field(True, description="Poll the sources (`up --no-poll` turns it off; the sweep stays).")
    http_connect_timeout_seconds: float = Field(
        10, gt=0, description="Longest wait for a source to accept a connection."
    )
    http_read_timeout_seconds: float = Field(30, gt=0, description="Longest silence of a source while it sends.")
    http_total_timeout_seconds: float = Field(600, gt=0, description="Longest time one download may take.")
    http_attempts_max: int = Field(5, ge=1, description="Attempts at one poll before it is recorded as failed.")
    http_backoff_max_seconds: float = Field(
        60, gt=0, description="Longest pause between two attempts; a longer Retry-After ends the poll."
    )
    full_fetch_every_polls: int = Field(
        24,
        ge=1,
        description="Every so many polls a source is fetched without conditions, in case its ETag lies.",
    )

    # Alerts, which the ingestor sends.
    alert_webhook_url: SecretStr = Field(
        SecretStr(""), description="Alerts are posted here as JSON, with Slack's `text` among it; empty: no webhook."
    )
    alert_smtp_host: str = Field("", description="Mail server for alerts; empty: no mails.")
    alert_smtp_port: int = Field(587, ge=1, le=65535, description="Its port.")
    alert_smtp_security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="`starttls` (587), `tls` from the first byte (465) or `none` (a relay on loopback)."
    )
    alert_smtp_from: str = Field("medallion@localhost", description="Sender of alerts.")
    alert_smtp_to: str = Field("", description="Who gets alerts by mail, comma-separated.")
    alert_smtp_user: str = Field("", description="Login at the mail server; empty: none.")
    alert_smtp_password: SecretStr = Field(SecretStr(""), description="Its password.")
    alert_severity_min: Literal["warn", "error"] = Field("warn", description="Least severe trouble that is told.")
    alert_interval_seconds: float = Field(10, gt=0, description="Pause between two looks for what to tell.")
    alert_after_seconds: float = Field(
        15, ge=0, description="Trouble that is over sooner is not told; what comes meanwhile is told with it."
    )
    alert_cooldown_seconds: float = Field(
        300, ge=0, description="Least pause between two messages about new trouble of one kind."
    )
    alert_timeout_seconds: float = Field(10, gt=0, description="Longest time that one attempt to send may take.")
    alert_retry_seconds: float = Field(
        10, gt=0, description="Pause before a message is sent again; it doubles each time, up to ten minutes."
    )
    alert_attempts_max: int = Field(8, ge=1, description="Attempts to send one message on one channel.")

    # Silver.
    batch_rows_max: int = Field(65_536, ge=1, description="Rows of one vectorised batch; memory follows from it.")
    block_bytes: int = Field(4_194_304, ge=4_096, description="Bytes read from a file at a time.")
    diff_rows_in_memory_max: int = Field(
        500_000,
        ge=0,
        description="Files and tables of more rows are compared in PostgreSQL, not in memory.",
    )
    spool_memory_bytes_max: int = Field(
        67_108_864, ge=0, description="Checked rows beyond this size wait on disk instead of in memory."
    )
    change_groups_max: int = Field(
        10_000,
        ge=1,
        description="A change set touching more groups says `everything` instead of listing them.",
    )
    future_tolerance_seconds: float = Field(
        300, ge=0, description="Objects dated further in the future than this are held."
    )
    snapshot_order_wait_seconds: float = Field(
        30, ge=0, description="Longest wait for an older snapshot that another worker is processing."
    )

    # Workers.
    heartbeat_interval_seconds: float = Field(3, gt=0, description="Pause between two heartbeats of a worker.")
    heartbeat_silence_seconds: float = Field(
        15, gt=0, description="A holder silent for longer has its database session ended."
    )
    attempts_max: int = Field(5, ge=1, description="Deaths on one object before it is `failed`.")
    failed_pause_seconds: float = Field(
        60, gt=0, description="Pause before a failed object is tried again, alone; it doubles each time, up to an hour."
    )
    retry_total_seconds: float = Field(60, gt=0, description="How long a worker retries while a server is away.")

    watchdog_seconds: float = Field(
        60, ge=0, description="A consumer with backlog that does nothing for so long ends itself; 0: never."
    )
    stop_objects_min: int = Field(
        3,
        ge=1,
        description="A worker stops after so many objects or events in a row that met a bug or were unreadable.",
    )
    stop_datasets_min: int = Field(2, ge=1, description="Those must be of at least so many datasets; else it goes on.")

    # Kafka.
    bronze_ready_partitions: int = Field(8, ge=1, description="Partitions of bronze-ready: the most silver workers.")
    silver_ready_partitions: int = Field(4, ge=1, description="Partitions of silver-ready: the most gold workers.")
    consumer_session_timeout_seconds: float = Field(
        6, gt=0, description="Silence after which a consumer is replaced; Kafka refuses less than 6."
    )

    # Gold.
    view_refresh_interval_seconds: float = Field(
        1.0,
        ge=0,
        description="Least pause between two refreshes of a materialized view: a burst of loads is one refresh.",
    )

    # Retention, applied by `medallion prune`.
    keep_raw_history_days: float = Field(
        365, ge=0, description="Raw rows that no live row came from go after so long; 0, here and below: never."
    )
    keep_closed_quarantine_days: float = Field(
        90, ge=0, description="Quarantined rows that newer data closed or a replay let through go after so long."
    )
    keep_runs_days: float = Field(
        180, ge=0, description="Passes over objects go after so long; `v_pipeline_performance` reaches as far back."
    )
    keep_polls_days: float = Field(
        30, ge=0, description="Polls go after so long, except those that the next ones build on."
    )
    keep_change_sets_days: float = Field(
        30, ge=0, description="Change sets that gold has taken in and that were exported go after so long."
    )
    keep_dead_letters_days: float = Field(
        90, ge=0, description="Replayed dead letters, lifted stops and the deaths of workers go after so long."
    )
    keep_quality_logs_days: float = Field(
        180, ge=0, description="Results of rules and audits go after so long, except each check's newest."
    )
    keep_refreshes_days: float = Field(
        30, ge=0, description="The record of gold's refreshes goes after so long, except each model's newest."
    )
    keep_workers_days: float = Field(7, ge=0, description="Workers that stopped or fell silent are forgotten after it.")
    keep_alerts_days: float = Field(
        90, ge=0, description="Alerts that are over, and what was said of them, go after so long."
    )
    keep_lake_files_days: float = Field(
        90, ge=0, description="Change files in silver-layer, and snapshots of models that are gone, go after so long."
    )
    prune_batch_rows_max: int = Field(50_000, ge=1, description="Rows that `prune` removes in one transaction.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Add `config.yaml` of the configured folder as the last source."""
        first = {**dotenv_settings(), **env_settings(), **init_settings()}
        config_dir = Path(str(first.get("config_dir") or data_file_root("config")))
        return (
            init_settings,
            env_settings,
            dotenv_settings,
            YamlConfigSettingsSource(settings_cls, yaml_file=config_dir / "config.yaml"),
        )

    @property
    def dataset_dir(self) -> Path:
        """Folder of the dataset contracts."""
        return self.config_dir / "datasets"

    def require_stack(self) -> "Settings":
        """Return self when all three servers are named; raises ConfigurationError saying which are not."""
        missing = [
            f"MEDALLION_{name}"
            for name, value in (
                ("DATABASE_URL", self.database_url),
                ("KAFKA_BOOTSTRAP_SERVERS", self.kafka_bootstrap_servers),
                ("S3_ENDPOINT", self.s3_endpoint),
                ("S3_ACCESS_KEY", self.s3_access_key.get_secret_value()),
                ("S3_SECRET_KEY", self.s3_secret_key.get_secret_value()),
            )
            if not value
        ]
        if missing:
            raise ConfigurationError(
                f"no stack to talk to: {', '.join(missing)} not set. "
                "Start one with `medallion up`, or name your servers in the environment or in .env"
            )
        return self


def load_settings(**overrides: object) -> Settings:
    """Read the settings; raises ConfigurationError naming each wrong variable and what it must be."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [f"MEDALLION_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise ConfigurationError("settings are wrong:\n  " + "\n  ".join(lines)) from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"config.yaml cannot be read as YAML: {error}") from error
