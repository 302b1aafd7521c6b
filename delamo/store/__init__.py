"""Content-addressed results on disk, and what they are written with."""

from delamo.store.contents import content_digest, content_digests
from delamo.store.files import (
    digest_of,
    file_digest,
    iterate_rows,
    read_rows,
    slug,
    write_json,
    write_parts,
    write_rows,
    write_text,
)
from delamo.store.locks import BusyError, locked, not_waiting
from delamo.store.results import (
    MANIFEST,
    QUARANTINE,
    ResultWriter,
    RowCounts,
    Store,
    StoredResult,
)
from delamo.store.shards import append_shards, compute_in_shards

__all__ = [
    "MANIFEST",
    "QUARANTINE",
    "BusyError",
    "ResultWriter",
    "RowCounts",
    "Store",
    "StoredResult",
    "append_shards",
    "compute_in_shards",
    "content_digest",
    "content_digests",
    "digest_of",
    "file_digest",
    "iterate_rows",
    "locked",
    "not_waiting",
    "read_rows",
    "slug",
    "write_json",
    "write_parts",
    "write_rows",
    "write_text",
]
