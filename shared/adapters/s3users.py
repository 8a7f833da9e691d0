"""The object store's users through MinIO's admin API, which other stores do not have."""

from collections.abc import Mapping

import urllib3
from minio.credentials import StaticProvider
from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from shared.adapters.s3 import CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS, REGION
from shared.errors import ConfigurationError, Unavailable
from shared.roles import login, policy
from shared.settings import Settings


def ensure_users(settings: Settings, password_by_who: Mapping[str, str]) -> None:
    """Make the users, or bring them up to date: password and policy, both called as the login.

    The settings' own keys must be an administrator's. Raises Unavailable, and ConfigurationError where the store
    refuses, as those without MinIO's admin API do.
    """
    admin = MinioAdmin(
        endpoint=settings.s3_endpoint,
        credentials=StaticProvider(
            settings.s3_access_key.get_secret_value(), settings.s3_secret_key.get_secret_value()
        ),
        region=REGION,
        secure=settings.s3_secure,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS), retries=False
        ),
    )
    try:
        for who, password in password_by_who.items():
            name = login(who)
            admin.user_add(name, password)
            admin.policy_add(name, policy=policy(who))
            admin.policy_set(name, user=name)
    except MinioAdminException as error:
        raise ConfigurationError(
            f"the object store made no users ({str(error)[:300]}): the keys must be an administrator's, and the store "
            "MinIO or compatible; elsewhere unset MEDALLION_…_PASSWORD and make users by the store's own means"
        ) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable("object store", f"users: {error}") from error
