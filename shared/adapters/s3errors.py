"""What an object store's refusals and silences mean to us."""

from collections.abc import Iterator
from contextlib import contextmanager

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from shared.errors import ConfigurationError, ObjectGone, Unavailable

_GONE = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchObject", "MethodNotAllowed", "PreconditionFailed"})
_REFUSED = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "InvalidBucketName"}
)
BAD_REQUEST, SERVER_ERROR = 400, 500


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise ObjectGone for versions that are not there, ConfigurationError for refusals, else Unavailable."""
    try:
        yield
    except S3Error as error:
        status = error.response.status if error.response is not None else 0
        if error.code in _GONE:
            raise ObjectGone(f"{what} is not in the object store ({error.code})") from error
        if error.code in _REFUSED:
            raise ConfigurationError(_refused(what, str(error.code))) from error
        if status == BAD_REQUEST:
            raise ObjectGone(f"{what} cannot be an object: {error.code}") from error
        raise Unavailable("object store", f"{what}: {error.code} ({status})") from error
    except ValueError as error:  # minio-py's own checks: a name that no store takes
        raise ObjectGone(f"{what} cannot be an object: {error}") from error
    except (ServerError, InvalidResponseError) as error:
        raise Unavailable("object store", f"{what}: {str(error)[:300]}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise  # a local file, not the network
        raise Unavailable("object store", f"{what}: {error}") from error


def is_refusal(error: BaseException | None) -> bool:
    """Say whether the store itself found a request wrong (SeaweedFS takes one about notifications for another)."""
    return isinstance(error, S3Error) and error.response is not None and error.response.status < SERVER_ERROR


def _refused(what: str, code: str) -> str:
    remedy = (
        "run `medallion migrate`, which creates the buckets"
        if code == "NoSuchBucket"
        else "check MEDALLION_S3_ENDPOINT, MEDALLION_S3_ACCESS_KEY and MEDALLION_S3_SECRET_KEY"
    )
    return f"the object store refuses {what} ({code}): {remedy}"
