"""Fetching over HTTP: conditional, bounded in time and size, retried with patience, whole or not at all."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from services.ingestor.sources import Fetched, NotModified, Previous, SourceFailed
from services.ingestor.transfer import COMPRESSED, PLAIN, CutOff, body
from shared.settings import Settings

REDIRECTS_MAX = 5
FIRST_PAUSE_SECONDS = 0.5
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Request:
    """What is asked of a web source, and what is tolerated."""

    url: str
    name: str
    expects: str  # csv or json
    file_bytes_max: int
    previous: Previous | None  # makes the request conditional


class _Passing(Exception):
    """Something that another attempt may heal; `retry_after_seconds` is the source's own wish."""

    def __init__(self, reason: str, http_status: int | None = None, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


def fetch_web(
    request: Request, settings: Settings, target: Path, sleep: Callable[[float], None] = time.sleep
) -> Fetched | NotModified:
    """Download a URL into `target`; raises SourceFailed when it cannot be had whole within the limits."""
    retrying = Retrying(
        stop=stop_after_attempt(settings.http_attempts_max),
        wait=_pause(settings.http_backoff_max_seconds),
        retry=retry_if_exception_type(_Passing),
        sleep=sleep,
        reraise=True,
    )
    attempts = 0
    try:
        for attempt in retrying:
            attempts = attempt.retry_state.attempt_number
            with attempt:
                return _attempt(request, settings, target, attempts)
    except _Passing as error:
        reason = f"{request.url}: {error} (after {attempts} attempts); the next poll tries again"
        raise SourceFailed(reason, http_status=error.http_status, attempts=attempts) from error
    except SourceFailed as error:
        raise SourceFailed(str(error), http_status=error.http_status, attempts=attempts) from error
    raise AssertionError("tenacity ends with a result or an exception")


def _pause(backoff_max_seconds: float) -> Callable[[RetryCallState], float]:
    backoff = wait_random_exponential(multiplier=FIRST_PAUSE_SECONDS, max=backoff_max_seconds)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wished = error.retry_after_seconds if isinstance(error, _Passing) else None
        return max(float(backoff(state)), wished or 0.0)

    return pause


def _attempt(request: Request, settings: Settings, target: Path, attempt: int) -> Fetched | NotModified:
    deadline = time.monotonic() + settings.http_total_timeout_seconds
    try:
        with requests.Session() as session:
            session.max_redirects = REDIRECTS_MAX
            timeouts = (settings.http_connect_timeout_seconds, settings.http_read_timeout_seconds)
            headers = _headers(request.previous)
            with session.get(request.url, headers=headers, timeout=timeouts, stream=True) as response:
                if response.status_code == 304 and request.previous:
                    return NotModified(attempt, 304)
                _check(response, request, settings.http_backoff_max_seconds)
                return _download(response, request, target, deadline, attempt)
    except requests.TooManyRedirects as error:
        raise SourceFailed(f"{request.url}: more than {REDIRECTS_MAX} redirects; correct source.url") from error
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise SourceFailed(f"{request.url}: {error}; correct source.url") from error
    except CutOff as error:
        raise _Passing(str(error)) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise _Passing(f"the connection failed ({type(error).__name__}: {error})") from error


def _headers(previous: Previous | None) -> dict[str, str]:
    headers = {"User-Agent": "medallion", "Accept-Encoding": "gzip"}
    if previous and previous.etag:
        headers["If-None-Match"] = previous.etag
    if previous and previous.last_modified:
        headers["If-Modified-Since"] = previous.last_modified
    return headers


def _check(response: requests.Response, request: Request, backoff_max_seconds: float) -> None:
    """Raise unless the response is one whose body is the wanted file."""
    status = response.status_code
    if status in _PASSING or status == 304:
        wished = _retry_after_seconds(response.headers.get("Retry-After"))
        if wished is not None and wished > backoff_max_seconds:
            raise SourceFailed(
                f"{request.url}: HTTP {status}, to be asked again in {wished:.0f} s only, which is more than "
                f"MEDALLION_HTTP_BACKOFF_MAX_SECONDS ({backoff_max_seconds:.0f}); left to the next poll",
                http_status=status,
            )
        raise _Passing(f"HTTP {status}", status, wished)
    if status != 200:
        reason = f"{request.url}: HTTP {status} {response.reason}; check source.url and its permissions"
        raise SourceFailed(reason, http_status=status)
    content_type = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type in ("text/html", "application/xhtml+xml"):
        raise SourceFailed(
            f"{request.url}: an HTML page came instead of {request.expects.upper()} (a login? an error?); "
            "open source.url in a browser",
            http_status=status,
        )


def _download(response: requests.Response, request: Request, target: Path, deadline: float, attempt: int) -> Fetched:
    """Stream the body to disk; its length on the wire must be the announced one."""
    digest, size_bytes = hashlib.sha256(), 0
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in (*PLAIN, *COMPRESSED):
        reason = f"{request.url}: it comes in Content-Encoding {encoding}, which nobody asked for; only gzip is known"
        raise SourceFailed(reason, http_status=response.status_code)
    with target.open("wb") as file:
        for chunk in body(response.raw, encoding):
            digest.update(chunk)
            size_bytes += file.write(chunk)
            if size_bytes > request.file_bytes_max:
                reason = f"{request.url}: more than limits.file_bytes_max ({request.file_bytes_max}) bytes"
                raise SourceFailed(reason, http_status=response.status_code)
            if time.monotonic() > deadline:
                raise _Passing("slower than MEDALLION_HTTP_TOTAL_TIMEOUT_SECONDS allows", response.status_code)
    announced, arrived = response.headers.get("Content-Length"), response.raw.tell()
    if announced is not None and announced.isdigit() and arrived != int(announced):
        raise _Passing(f"{arrived} bytes arrived, {announced} were announced", response.status_code)
    return Fetched(
        path=target,
        name=request.name,
        size_bytes=size_bytes,
        content_sha256=digest.hexdigest(),
        etag=response.headers.get("ETag"),
        last_modified=response.headers.get("Last-Modified"),
        attempts=attempt,
        http_status=response.status_code,
    )


def _retry_after_seconds(header: str | None) -> float | None:
    """Read Retry-After, in seconds or as a date; None when it says nothing usable."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
