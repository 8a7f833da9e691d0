"""Listing all versions of a bucket, page by page, also where a server's paging leaves versions out."""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.adapters.s3metadata import decoded
from shared.errors import Unavailable
from shared.ports import Folder, ObjectInfo

PAGE_VERSIONS = 1000  # what S3 servers give at most
TOGETHER_MIN = 8  # keys that a page must tell of to be worth more than a question for each


@dataclass(frozen=True)
class Page:
    """One answer to ListObjectVersions."""

    root: ET.Element
    skips_keys: bool  # the server is one whose paging cannot be trusted
    is_exact: bool = False  # the server keeps fractions of a second


# Asks the server for one page, given the query's parameters.
Ask = Callable[[Mapping[str, str]], Page]


def list_versions(
    ask: Ask, current_keys: Callable[[], Iterable[str]], bucket: str, prefix: str, page_versions: int
) -> Iterator[ObjectInfo]:
    """List versions by key, newest first within a key, delete markers among them.

    SeaweedFS 4.48 walks its folders, where `a` lies as `a.versions` and so comes after `a.csv.versions`,
    but goes on after a page by the order of the keys. What the two orders disagree about it skips: whole
    keys, and the rest of a key that a page ends in. These are asked for one by one and come at the end, out
    of order; the server's listing of current keys does not have the fault.
    """
    seen: set[str] = set()
    torn: dict[str, set[str]] = {}  # keys that pages ended in, with the versions that did come
    for page in _pages(ask, bucket, prefix, page_versions):
        infos = list(infos_of(bucket, page))
        yield from infos
        if not page.skips_keys:
            continue
        seen.update(info.key for info in infos)
        if infos and _is_truncated(page):
            torn.setdefault(max((info.key for info in infos), key=_walked), set())
        for info in infos:
            if info.key in torn:
                torn[info.key].add(info.version_id)
    if torn:
        left_out = [key for key in current_keys() if key not in seen]
        for key in [*left_out, *torn]:
            for page in _pages(ask, bucket, key, PAGE_VERSIONS):
                found = (info for info in infos_of(bucket, page) if info.key == key)
                yield from (info for info in found if info.version_id not in torn.get(key, ()))


def list_keys(ask: Ask, bucket: str, keys: Sequence[str], page_versions: int) -> Mapping[str, Sequence[ObjectInfo]]:
    """List the versions of keys, which are in order, by pages of their folders; leaves out what costs too many.

    A key that a page may have ended in is taken from the next one. What a page skips (see above) it skips as a whole.
    `metadata` is MinIO's word, and nothing to others.
    """
    folders: dict[str, list[str]] = {}
    for key in keys:
        folders.setdefault(key[: key.rfind("/") + 1], []).append(key)
    listed: dict[str, list[ObjectInfo]] = {}
    for folder, wanted in folders.items():
        while len(wanted) >= TOGETHER_MIN:
            marker = {"key-marker": wanted[0][:-1]} if wanted[0][:-1] else {}
            page_keys = str(min(len(wanted) + 1, page_versions))
            page = ask({"versions": "", "metadata": "true", "prefix": folder, "max-keys": page_keys, **marker})
            found = _by_key(bucket, page)
            here = found.keys() & set(wanted)
            listed |= {key: found[key] for key in here}
            if len(here) < TOGETHER_MIN:
                break
            wanted = [key for key in wanted if key > max(here)]
    return listed


def _by_key(bucket: str, page: Page) -> dict[str, list[ObjectInfo]]:
    """Return the keys that a page tells of as a whole, with their versions."""
    found: dict[str, list[ObjectInfo]] = {}
    for info in infos_of(bucket, page):
        found.setdefault(info.key, []).append(info)
    if found and _is_truncated(page):
        del found[max(found, key=_walked if page.skips_keys else None)]
    return found


def list_level(ask: Ask, bucket: str, prefix: str, page_versions: int) -> Iterator[ObjectInfo | Folder]:
    """List the versions right under a prefix and the folders below it, page by page, as the server gives them."""
    for page in _pages(ask, bucket, prefix, page_versions, delimiter="/"):
        yield from infos_of(bucket, page)
        for common in page.root.iterfind("{*}CommonPrefixes"):
            yield Folder(_text(common, "Prefix"))


def infos_of(bucket: str, page: Page) -> Iterator[ObjectInfo]:
    """Read the versions and delete markers of a page, in its order."""
    for element in page.root:
        kind = _name(element)
        if kind not in ("Version", "DeleteMarker"):
            continue
        told = {_name(one): one for one in element}
        text = {name: one.text or "" for name, one in told.items()}
        headers = _headers(told.get("UserMetadata", ()))
        yield ObjectInfo(
            bucket=bucket,
            key=text.get("Key", ""),
            version_id=plain_version(text.get("VersionId")),
            etag=text.get("ETag", "").strip('"'),
            size_bytes=int(text.get("Size") or 0),
            last_modified=datetime.fromisoformat(text.get("LastModified", "")),
            metadata=decoded(headers),
            is_delete_marker=kind == "DeleteMarker",
            is_exact=page.is_exact,
            is_whole=bool(headers),
        )


def _headers(told: Iterable[ET.Element]) -> Mapping[str, str]:
    """Return a version's headers, which MinIO tells when it is asked to and may; it always tells the type, then."""
    headers = {_name(one).lower(): one.text or "" for one in told}
    return headers if "content-type" in headers else {}


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def plain_version(version_id: str | None) -> str:
    """Return a version id, '' for objects of an unversioned bucket, which listings call null."""
    return "" if version_id in (None, "null") else str(version_id)


def _pages(ask: Ask, bucket: str, prefix: str, page_versions: int, **more: str) -> Iterator[Page]:
    marker: dict[str, str] = {}
    while True:
        page = ask({"versions": "", "prefix": prefix, "max-keys": str(page_versions), **more, **marker})
        yield page
        if not _is_truncated(page):
            return
        names = {"key-marker": "NextKeyMarker", "version-id-marker": "NextVersionIdMarker"}
        following = {name: _text(page.root, tag) for name, tag in names.items() if _text(page.root, tag)}
        if following == marker or "key-marker" not in following:
            raise Unavailable("object store", f"the listing of {bucket}/{prefix} stops at {marker}")
        marker = following


def _is_truncated(page: Page) -> bool:
    return _text(page.root, "IsTruncated") == "true"


def _walked(key: str) -> tuple[str, ...]:
    """Return what orders keys as SeaweedFS walks them: folder by folder, a key as a folder of versions."""
    *folders, name = key.split("/")
    return (*folders, f"{name}.versions")


def _text(element: ET.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""
