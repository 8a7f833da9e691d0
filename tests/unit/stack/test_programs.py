from pathlib import Path

from services.stack.programs import (
    connected_settings,
    endpoint_environment,
    monitor_ports,
    service_children,
    service_modules,
    settings_environment,
)
from shared.settings import load_settings

ENDPOINTS = {
    "MEDALLION_DATABASE_URL": "postgresql://medallion:secret@127.0.0.1:15000/medallion",
    "MEDALLION_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:15001",
    "MEDALLION_S3_ENDPOINT": "127.0.0.1:15002",
    "MEDALLION_S3_ACCESS_KEY": "key",
    "MEDALLION_S3_SECRET_KEY": "secret",
    "MEDALLION_S3_SECURE": "false",
    "MEDALLION_WEBHOOK_PORT": "15003",
    "MEDALLION_DATA_DIR": "/somewhere/data",
}


def test_a_stacks_endpoints_replace_those_of_the_settings() -> None:
    settings = connected_settings(load_settings(s3_endpoint="elsewhere:9000", sweep_interval_seconds=7), ENDPOINTS)
    assert endpoint_environment(settings) == ENDPOINTS
    assert settings.sweep_interval_seconds == 7


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = connected_settings(load_settings(poll_enabled=False, log_format="json"), ENDPOINTS)
    found = {name.removeprefix("MEDALLION_").lower(): value for name, value in settings_environment(settings).items()}
    assert load_settings(**found) == settings


def test_services_are_named_and_told_what_the_supervisor_knows(tmp_path: Path) -> None:
    settings = connected_settings(load_settings(metrics_port=9100), ENDPOINTS)
    modules = service_modules(silver=2, gold=1)
    ports = monitor_ports(settings, tmp_path, "embedded", list(modules))
    children = service_children(settings, tmp_path, modules, ports, poll=False)
    described = {
        child.name: (
            child.program.command[-1],
            child.program.environment["MEDALLION_METRICS_PORT"],
            child.monitor,
            child.program.environment["MEDALLION_POLL_ENABLED"],
            child.program.log.name,
        )
        for child in children
    }
    assert described == {
        "ingestor": ("services.ingestor", "9100", "http://127.0.0.1:9100", "false", "ingestor.log"),
        "silver-1": ("services.silver", "9101", "http://127.0.0.1:9101", "false", "silver-1.log"),
        "silver-2": ("services.silver", "9102", "http://127.0.0.1:9102", "false", "silver-2.log"),
        "gold-1": ("services.gold", "9103", "http://127.0.0.1:9103", "false", "gold-1.log"),
    }
    assert all(child.program.environment.items() >= {"MEDALLION_S3_SECRET_KEY": "secret"}.items() for child in children)


def test_beside_external_servers_no_port_means_no_metrics(tmp_path: Path) -> None:
    settings, modules = connected_settings(load_settings(), ENDPOINTS), service_modules(silver=1, gold=0)
    ports = monitor_ports(settings, tmp_path, "external", list(modules))
    children = service_children(settings, tmp_path, modules, ports, poll=True)
    told = [(child.monitor, child.program.environment["MEDALLION_METRICS_PORT"]) for child in children]
    assert (ports, told) == ({}, [("", "0"), ("", "0")])
