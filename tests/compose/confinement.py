"""What the containers and logins may not do, seen from outside."""

import io
from pathlib import Path

import psycopg2
from minio.error import S3Error

from tests.compose.engine import Engine, Failed

OURS = ("ingestor", "silver", "gold")
LISTEN = "0A"

DENIED_SQL = (
    ("reader", "INSERT INTO gold.daily_aggregates (aggregate_date) VALUES ('2021-01-01')"),
    ("reader", "SELECT * FROM bronze.raw_covid"),
    ("reader", "CREATE TABLE public.mine (id int)"),
    ("ingestor", "SELECT * FROM silver.clean_users"),
    ("ingestor", "DELETE FROM silver.change_sets"),
    ("silver", "DELETE FROM gold.daily_aggregates"),
    ("silver", "DROP TABLE silver.clean_covid"),
    ("gold", "DELETE FROM silver.clean_covid"),
    ("gold", "SELECT * FROM bronze.raw_users"),
    ("owner", "ALTER ROLE postgres PASSWORD 'x'"),
)


def check_users(engine: Engine) -> dict[str, str]:
    """Return each service's user id; ours must not be root, and no process may hold or gain rights. Raises Failed."""
    users = {}
    for container in engine.containers():
        found = engine.inspect(container)
        service = found["Config"]["Labels"]["com.docker.compose.service"]
        if not found["State"]["Running"]:
            continue
        status = engine.run(["docker", "exec", container, "cat", "/proc/1/status"])
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        users[service] = fields["Uid"].split()[0]
        rights = int(fields["CapEff"], 16) | int(fields["CapBnd"], 16)
        if rights or fields["NoNewPrivs"].strip() != "1":
            raise Failed(f"{service}: capabilities {rights:x}, NoNewPrivs {fields['NoNewPrivs'].strip()}")
        if service in OURS and (users[service] == "0" or not found["HostConfig"]["ReadonlyRootfs"]):
            raise Failed(f"{service} runs as user {users[service]}, or its root file system can be written")
    if not set(OURS) <= set(users):
        raise Failed(f"running are only {sorted(users)}")
    return users


def check_ports(engine: Engine) -> list[str]:
    """Return the published addresses; each must be loopback's, on the machine too. Raises Failed."""
    published = set()
    for container in engine.containers():
        for bindings in (engine.inspect(container)["HostConfig"]["PortBindings"] or {}).values():
            published |= {(one["HostIp"], one["HostPort"]) for one in bindings}
    if {host for host, _ in published} != {"127.0.0.1"} or {port for _, port in published} != set(
        engine.ports.values()
    ):
        raise Failed(f"published: {sorted(published)}")
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            address, port = line.split()[1].split(":")
            if line.split()[3] == LISTEN and str(int(port, 16)) in engine.ports.values() and address != "0100007F":
                raise Failed(f"something listens on port {int(port, 16)} beyond loopback ({address})")
    return sorted(f"{host}:{port}" for host, port in published)


def check_image(engine: Engine) -> int:
    """Return our image's size in bytes; neither its description nor its layers' commands may hold a secret."""
    image = engine.inspect(engine.containers("gold")[0])["Image"]
    told = engine.run(["docker", "image", "inspect", image]) + engine.run(["docker", "history", "--no-trunc", image])
    held = [name for name, secret in engine.secrets.items() if secret in told]
    if held or "PASSWORD" in told:
        raise Failed(f"the image tells secrets: {held or 'a PASSWORD'}")
    return int(engine.run(["docker", "image", "inspect", "--format", "{{.Size}}", image]))


def check_logs(engine: Engine) -> None:
    """No password may stand in any log. Raises Failed."""
    logs = engine.compose("logs", "--no-color")
    held = [name for name, secret in engine.secrets.items() if secret in logs]
    if held:
        raise Failed(f"logs hold {held}")


def check_logins(engine: Engine) -> int:
    """Return how many things were tried that logins must not do; raises Failed for one that worked."""
    for who, statement in DENIED_SQL:
        try:
            engine.rows(statement, who)
        except psycopg2.errors.InsufficientPrivilege:
            continue
        raise Failed(f"{who} may do what it must not: {statement}")
    tried = (
        ("dropper", lambda store: store.remove_object("bronze-layer", "covid/x.csv")),
        ("dropper", lambda store: list(store.list_objects("gold-layer"))),
        ("silver", lambda store: store.put_object("bronze-layer", "covid/x.csv", io.BytesIO(b"x"), 1)),
        ("reader", lambda store: store.put_object("gold-layer", "x", io.BytesIO(b"x"), 1)),
        ("reader", lambda store: list(store.list_objects("bronze-layer"))),
        ("gold", lambda store: store.get_object("bronze-layer", "covid/x.csv")),
        ("ingestor", lambda store: store.remove_bucket("bronze-layer")),
    )
    for who, attempt in tried:
        try:
            attempt(engine.store(who))
        except S3Error as error:
            if error.code == "AccessDenied":
                continue
            raise
        raise Failed(f"the object store lets {who} do what it must not")
    return len(DENIED_SQL) + len(tried)
