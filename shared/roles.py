"""Logins with no more rights than each service needs, in PostgreSQL and in the object store.

A login is called `medallion_<who>` in both, with one password. `migrate` makes those whose password is set, and
grants anew each time, so that tables and models that came since are covered and what is not needed any more is taken.
The grants in PostgreSQL are sql/roles/<who>.sql; the object store's are the policies here.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError
from shared.ports import Session
from shared.settings import BRONZE_BUCKET, GOLD_BUCKET, SILVER_BUCKET, Settings

WHO = ("ingestor", "silver", "gold", "reader", "dropper")

_SCHEMAS = "bronze, silver, gold"
_SCRAM_ITERATIONS = 4096  # PostgreSQL's own; the password is random, so that more would only cost

_FIND = ("s3:GetBucketLocation", "s3:GetBucketVersioning", "s3:ListBucket", "s3:ListBucketVersions")
_READ = ("s3:GetObject", "s3:GetObjectVersion")
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def login(who: str) -> str:
    """Return the name under which a service, or a person, logs in."""
    return f"medallion_{who}"


def passwords(settings: Settings) -> dict[str, str]:
    """Return the passwords that are set, by whose they are. Raises ConfigurationError for one that cannot be used."""
    found = {who: getattr(settings, f"{who}_password").get_secret_value() for who in WHO}
    for who, password in found.items():
        if password and not (password.isascii() and password.isprintable() and 8 <= len(password) <= 40):
            raise ConfigurationError(
                f"MEDALLION_{who.upper()}_PASSWORD: 8 to 40 printable ASCII characters are needed, for the object store"
            )
    return {who: password for who, password in found.items() if password}


def grant(session: Session, sql_dir: Path, password_by_who: Mapping[str, str]) -> list[str]:
    """Make the database's roles and their grants within the session's transaction; return which are new."""
    made, database = [], session.rows("SELECT quote_ident(current_database())")[0][0]
    for who, password in password_by_who.items():
        path, role = sql_dir / "roles" / f"{who}.sql", login(who)
        if not path.is_file():  # somebody who has no business in the database
            continue
        if not session.rows("SELECT FROM pg_roles WHERE rolname = %s", (role,)):
            session.execute(f"CREATE ROLE {role} LOGIN")
            made.append(f"role {role}")
        session.execute(f"ALTER ROLE {role} PASSWORD %s", (scram(password),))
        session.execute(f"GRANT CONNECT ON DATABASE {database} TO {role}")
        session.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA {_SCHEMAS} FROM {role}")
        session.execute(path.read_text(encoding="utf-8"))
    return made


def scram(password: str, salt: bytes | None = None) -> str:
    """Return what PostgreSQL keeps of a password: sent like this, the password itself reaches no server log."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{text[0]}${text[1]}:{text[2]}"


def policy(who: str) -> dict[str, Any]:
    """Return what a login may do in the object store, as an S3 policy."""
    allowed: Mapping[str, Sequence[tuple[str, Sequence[str]]]] = {
        "ingestor": [(BRONZE_BUCKET, (*_FIND, *_READ, *_WRITE))],
        "silver": [(BRONZE_BUCKET, (*_FIND, *_READ)), (SILVER_BUCKET, (*_FIND, *_READ, *_WRITE))],
        # It looks whether the store is there by a listing of bronze.
        "gold": [(BRONZE_BUCKET, _FIND), (GOLD_BUCKET, (*_FIND, *_READ, *_WRITE))],
        "reader": [(SILVER_BUCKET, (*_FIND, *_READ)), (GOLD_BUCKET, (*_FIND, *_READ))],
        # Drops files, and sees what it dropped; removes nothing.
        "dropper": [(BRONZE_BUCKET, (*_FIND, *_READ, *_WRITE))],
    }
    statements = [
        {
            "Effect": "Allow",
            "Action": list(actions),
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }
        for bucket, actions in allowed[who]
    ]
    return {"Version": "2012-10-17", "Statement": statements}
