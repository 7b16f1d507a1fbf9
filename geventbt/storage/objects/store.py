"""`ObjectStore`: the few operations that are needed of a file system of fsspec, blocking, with `StorageError`.

An object is put as a whole or not at all. Stores for buckets do it so; in others it is written beside, and renamed.
File systems that are made of coroutines run in a thread of our own, not in that of fsspec: see `AsyncCaller`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from geventbt import limits
from geventbt.concurrency.aio import AsyncCaller, gather
from geventbt.errors import StorageError
from geventbt.storage.backend import MissingData

_CONCURRENCY = 8
"""Requests at one time of a store that is made of coroutines. *Measured*: see `scripts/bench_storage.py`."""
_MERGES = {"s3": 10_000, "s3a": 10_000, "gs": 32, "gcs": 32}
"""Stores that join objects themselves, and how many at most in one request."""
_RENAMES = {"file", "local", "sftp", "ssh", "smb"}
"""Stores that show a file while it is being written, and can rename it."""
_RENAMES_STREAMS = _RENAMES | {"memory"}
"""Those that show what is written in several steps."""
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "mtime", "LastModified", "last_modified", "updated", "created")
"""What changes with the content of an object, from the surest on."""
_KEPT = {
    getattr(errno, name)
    for name in (
        "ENOENT",
        "EACCES",
        "EPERM",
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EEXIST",
        "ENOTDIR",
        "EISDIR",
        "ENAMETOOLONG",
    )
    if hasattr(errno, name)
}
"""Errors that say what is wrong. All others are those of a network drive that is away (``errno.EIO``)."""


class Stored(NamedTuple):
    """An object that is in the store."""

    size: int
    """In bytes."""
    mark: bytes
    """Changes with the content; empty where the store tells nothing that does."""


class ObjectStore:
    """Objects below a URL, by their paths relative to it. All methods block, and may be called in several threads.

    They raise `StorageError`; where an object is missing, `MissingData`.

    Args:
        url: of the folder or prefix.
        folder: the path of our own objects.
        options: for the file system of fsspec.

    Attributes:
        folder: as given.
        merges: how many objects `merge` takes; 0 where the store cannot join objects itself.
    """

    def __init__(self, url: str, folder: str, options: Mapping[str, Any]) -> None:
        self.folder = folder
        self._url = re.sub(r"//[^/@]*@", "//", url).rstrip("/")
        self._caller: AsyncCaller | None = None
        with self._errors():
            from fsspec.core import split_protocol, url_to_fs
            from fsspec.registry import get_filesystem_class

            kind = get_filesystem_class(split_protocol(url)[0] or "file")
            # Listings must be fresh, and an instance that is shared might be used in another loop.
            options = {**options, "use_listings_cache": False, "skip_instance_cache": True}
            if kind.async_impl:
                self._caller = AsyncCaller()
                options["loop"] = self._caller.loop
            try:
                self._fs, root = url_to_fs(url, **options)
            except BaseException:
                self.close()
                raise
        self._root = root.rstrip("/")
        protocols = {kind.protocol} if isinstance(kind.protocol, str) else set(kind.protocol)
        self._serial = count()
        self._renames = bool(protocols & _RENAMES)
        self._renames_streams = bool(protocols & _RENAMES_STREAMS)
        self.merges = next((_MERGES[name] for name in protocols if name in _MERGES), 0)

    def __str__(self) -> str:
        return self._url

    def url(self, path: str) -> str:
        """The URL of an object, for people."""
        return f"{self._url}/{path}"

    def check_bucket(self) -> None:
        """See that the bucket is there, as far as that can be seen."""
        if self.merges:
            bucket = self._root.partition("/")[0]
            try:
                with self._errors():
                    self._call("info", bucket)
            except MissingData as error:
                raise StorageError(errno.ENOENT, "there is no such bucket; make it first", self._url) from error
            except StorageError as error:
                if error.errno not in (errno.EACCES, errno.EPERM):
                    raise

    def stat(self, path: str) -> Stored | None:
        """Look at an object; None if it is not there."""
        with self._errors(path), suppress(FileNotFoundError):
            return _stored(self._call("info", self._full(path)))
        return None

    def find(self, path: str) -> dict[str, Stored]:
        """Look at all objects below a path."""
        with self._errors(path):
            try:
                found = self._call("find", self._full(path), detail=True)
            except FileNotFoundError:
                return {}
        objects = ((name[len(self._root) + 1 :], _stored(info)) for name, info in found.items())
        return {name: stored for name, stored in objects if stored is not None}

    def get(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Read an object, or a range of it."""
        with self._errors(path):
            data: bytes = self._call("cat_file", self._full(path), start=start, end=end)
        if end is not None and len(data) != end - start:
            raise MissingData(errno.ENOENT, f"only {len(data)} of {end - start} bytes are there", self.url(path))
        return data

    def get_all(self, ranges: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """Read ranges of objects, several at a time: path, start and end of each."""
        if self._caller is None:
            return [self.get(*range) for range in ranges]
        with self._errors(ranges[0][0] if ranges else ""):
            return self._each("cat_file", [((self._full(path),), {"start": a, "end": b}) for path, a, b in ranges])

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Write objects, several at a time, each of them whole or not at all."""
        with self._writing(next(iter(objects), "")):
            if self._caller is None:
                for path, data in objects.items():
                    self._put(path, partial(self._fs.pipe_file, value=data), is_renamed=self._renames)
            else:
                self._each("pipe_file", [((self._full(path), data), {}) for path, data in objects.items()])

    def put_stream(self, path: str, chunks: Callable[[], Iterable[bytes]]) -> None:
        """Write an object that is too large for the memory. Nothing is written if the chunks raise an error.

        Args:
            path: of the object.
            chunks: gives its bytes, from the first one each time that it is called.
        """
        with self._writing(path):
            self._put(path, lambda place: self._write(place, chunks()), is_renamed=self._renames_streams)

    def merge(self, path: str, parts: Sequence[str]) -> None:
        """Have the store join objects to another one. All but the last are of at least 5 MiB.

        Args:
            path: of the new object.
            parts: at most `merges` objects, in order.
        """
        with self._writing(path):
            self._call("merge", self._full(path), [self._full(part) for part in parts])

    def remove(self, paths: Sequence[str]) -> None:
        """Delete objects; those that are gone already are passed over."""
        with self._errors(paths[0] if paths else ""):
            if self._caller is None:
                for path in paths:
                    with suppress(FileNotFoundError):
                        self._fs.rm_file(self._full(path))
            else:
                self._each("rm_file", [((self._full(path),), {}) for path in paths])

    def abort_uploads(self, folders: Iterable[str], is_ours: Callable[[str], bool]) -> None:
        """Abort joins that a kill has cut off, which S3 would keep, and charge for, for ever. What fails is let be.

        Args:
            folders: where objects may be, at the top of this store: names of folders and files.
            is_ours: tells whether the path of an object is of the caller's.
        """
        if self._caller is not None and hasattr(self._fs, "_list_multipart_uploads"):
            with suppress(StorageError), self._errors():
                for folder in folders:
                    self._caller.call(partial(self._abort_uploads, folder, is_ours), limits.STORE_TIMEOUT)

    async def _abort_uploads(self, folder: str, is_ours: Callable[[str], bool]) -> None:
        bucket, _, root = self._root.partition("/")
        prefix = f"{root}/" if root else ""
        marker: dict[str, str] = {}
        while True:
            found = await self._fs._call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix + folder, **marker)
            for upload in found.get("Uploads", ()):
                age = time.time() - upload["Initiated"].timestamp()
                if is_ours(upload["Key"][len(prefix) :]) and age >= limits.STORE_UPLOAD_AGE:
                    await self._fs._abort_mpu(bucket, upload["Key"], upload["UploadId"])
            if not found.get("IsTruncated"):
                return
            marker = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}

    def close(self) -> None:
        """Close the connections to the store."""
        if self._caller is not None:
            with suppress(Exception):
                self._caller.call(partial(_close_session, self._fs), limits.STORE_TIMEOUT)
            self._caller.close()

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        if self._caller is None:
            return getattr(self._fs, name)(*args, **kwargs)
        method = getattr(self._fs, f"_{name}")
        return self._caller.call(partial(method, *args, **kwargs), limits.STORE_TIMEOUT)

    def _each(self, name: str, calls: Sequence[tuple[tuple[Any, ...], dict[str, Any]]]) -> list[Any]:
        """Call a coroutine method for each of several arguments."""
        assert self._caller is not None
        method = getattr(self._fs, f"_{name}")
        made = [partial(method, *args, **kwargs) for args, kwargs in calls]
        return self._caller.call(partial(gather, made, _CONCURRENCY), limits.STORE_TIMEOUT)

    def _put(self, path: str, write: Callable[[str], object], *, is_renamed: bool) -> None:
        """Write one object by a function that is called with its place, in the store or among our own files."""
        place = self._full(path)
        if not is_renamed:
            self._with_parent(write, place)
            return
        try:
            self._put_beside(place, write)
        except FileNotFoundError:
            # Another program has deleted it, as one that a kill has left behind.
            self._put_beside(place, write)

    def _put_beside(self, place: str, write: Callable[[str], object]) -> None:
        """Write an object beside its place, and rename it once it is whole."""
        beside = self._full(f"{self.folder}/new-{os.getpid()}-{next(self._serial)}")
        try:
            self._with_parent(write, beside)
            self._with_parent(partial(self._fs.mv, beside), place)
        except BaseException:
            with suppress(Exception):
                self._fs.rm_file(beside)
            raise

    def _with_parent(self, write: Callable[[str], object], place: str) -> None:
        """Call a function that makes a file, and again once the folder for it is made."""
        try:
            write(place)
        except FileNotFoundError:
            self._make_parent(place)
            write(place)

    def _make_parent(self, place: str) -> None:
        """Make the folders that an object is in, but never a bucket."""
        top = re.match("/*[^/]*", place)
        if top is None or not self._fs.exists(top[0]):
            raise FileNotFoundError(errno.ENOENT, "there is no such bucket", self._url)
        self._fs.makedirs(place.rpartition("/")[0], exist_ok=True)

    def _write(self, place: str, chunks: Iterable[bytes]) -> None:
        file = self._fs.open(place, "wb", block_size=limits.STORE_PART)
        try:
            for chunk in chunks:
                file.write(chunk)
        except BaseException:
            # Were it closed, what there is of it would become the object.
            with suppress(AttributeError):
                file.closed = True
            raise
        file.close()

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        """See `_errors`; what is missing is not data, but a bucket or a part."""
        try:
            with self._errors(path):
                yield
        except MissingData as error:
            raise StorageError(error.errno, error.strerror, error.filename) from error

    @contextmanager
    def _errors(self, path: str = "") -> Iterator[None]:
        """Raise whatever a file system raises as a StorageError. Libraries for stores raise errors of their own."""
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError as error:
            raise MissingData(errno.ENOENT, _text(error), self.url(path)) from error
        except (ImportError, ValueError) as error:
            # No such kind of store, or its library is not installed; or options that it does not take.
            raise StorageError(errno.EINVAL, _text(error), self._url) from error
        except Exception as error:
            number = error.errno if isinstance(error, OSError) and error.errno in _KEPT else errno.EIO
            raise StorageError(number, _text(error), self.url(path)) from error


def _stored(info: Mapping[str, Any]) -> Stored | None:
    """An object, from what a store tells of it; None for a folder."""
    if info["type"] != "file":
        return None
    size = int(info["size"] or 0)
    for key in _MARKS:
        if value := info.get(key):
            # A listing may have the same time in another form.
            value = value.timestamp() if isinstance(value, datetime) else value
            return Stored(size, hashlib.sha1(f"{key} {value} {info.get('ino')}".encode()).digest())
    return Stored(size, b"")


def _text(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text if text and not isinstance(error, KeyError) else f"{type(error).__name__}: {error}"


async def _close_session(fs: Any) -> None:
    """Close the connections of a file system that keeps some; fsspec has no common name for it."""
    if hasattr(fs, "set_session"):
        await (await fs.set_session()).close()
