"""What the image is built from, and what docker-compose.yml promises, as far as their text shows it."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.metrics import METRICS
from shared.roles import WHO
from tests.containers import expanded

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LONG_RUNNING = ("kafka", "store", "postgres", "ingestor", "silver", "gold")


def locked(name: str) -> set[str]:
    """Return a lock file's requirements with versions, markers and hashes, without who asked for them."""
    text = re.sub(r"^ +#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {re.sub(r" \\\n +", " ", block) for block in re.split(r"\n(?=\S)", text.strip())}


def test_the_image_has_the_versions_that_are_tested() -> None:
    def versions(name: str) -> set[str]:
        return {re.sub(r" ; .* --hash", " --hash", block) for block in locked(name)}

    assert versions("requirements-image.lock") - versions("requirements.lock") == set()


def test_the_image_has_neither_embedded_servers_nor_development_tools() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = {re.split(r"[>=<\[]", one)[0].lower() for one in (*extras["embedded"], *extras["dev"])}
    wanted = {re.split(r"[>=<\[]", one)[0].lower() for one in project["dependencies"]}
    inside = {block.split("==")[0] for block in locked("requirements-image.lock")}

    assert inside & (named - wanted) == {"hatchling"}  # makes the wheel
    assert (
        "uninstall --quiet --yes --root-user-action=ignore \\\n        hatchling" in (ROOT / "Dockerfile").read_text()
    )


def test_every_container_is_confined() -> None:
    for name, service in SERVICES.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert "privileged" not in service, name
        assert not [one for one in service.get("volumes", []) if "docker.sock" in one], name
    assert [name for name in SERVICES if not SERVICES[name].get("read_only")] == ["kafka"]


def test_what_runs_on_is_watched_and_restarted() -> None:
    for name in LONG_RUNNING:
        assert SERVICES[name]["restart"] == "unless-stopped", name
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["stop_grace_period"], name


def test_nothing_is_published_beyond_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_no_password_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = re.findall(r"\$\{([A-Z_]*PASSWORD)([^}]*)\}", text)

    assert {name for name, _ in used} == {f"{who.upper()}_PASSWORD" for who in ("postgres", "owner", "store", *WHO)}
    assert {rest[:2] for _, rest in used} == {"", ":?"}
    for name in {name for name, _ in used}:  # named once with the remedy, everywhere required by that
        assert f"${{{name}:?" in text
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_what_comes_on_request_only_has_a_profile() -> None:
    assert {name: SERVICES[name]["profiles"] for name in SERVICES if "profiles" in SERVICES[name]} == {
        "cli": ["cli"],
        "prometheus": ["monitoring"],
    }


def test_alerts_rest_on_metrics_and_labels_that_there_are() -> None:
    rules = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"][0]["rules"]
    labels = {metric.name: metric.labels for metric in METRICS}
    scrapes = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = [target["names"] for target in scrapes[0]["dns_sd_configs"]]

    assert found == [["ingestor"], ["silver"], ["gold"]]
    for rule in rules:
        names = re.findall(r"medallion_[a-z_]+", rule["expr"])
        assert set(names) <= set(labels), rule["alert"]
        told = {"service", "instance"}.union(*(labels[name] for name in names))
        assert set(re.findall(r"\$labels\.([a-z]+)", str(rule["annotations"]))) <= told, rule["alert"]


@pytest.mark.parametrize("name", ["kafka", "store", "postgres", "prometheus"])
def test_images_of_others_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]

    assert re.search(r":[\w.-]*\d[\w.-]*\}?$", image)
    assert "latest" not in image


@pytest.mark.parametrize("name", ["kafka", "store", "postgres"])
def test_the_tests_containers_know_every_variable_of_the_servers(name: str) -> None:
    values = {"KAFKA_PORT": "19999", "STORE_PASSWORD": "s3cret", "POSTGRES_PASSWORD": "s3cret"}

    service = expanded({key: SERVICES[name][key] for key in ("image", "environment")}, values)

    assert "$" not in str(service)
    assert service["image"].split(":")[0] in ("apache/kafka", "pgsty/silo", "postgres")
    shown = {"kafka": "127.0.0.1:19999", "store": "s3cret", "postgres": "s3cret"}[name]
    assert shown in str(service["environment"])
