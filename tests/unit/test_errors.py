"""Errors on their way to other processes, such as from a worker of `multiprocessing` to its pool."""

from __future__ import annotations

import errno
import inspect
import pickle

import pytest

from geventbt import errors

EXAMPLES: list[Exception] = [
    *(kind("text") for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, Exception)),
    errors.StorageError(errno.ENOSPC, "no room", "folder/file"),
    errors.RemoteProtocolError("text", message_id=5, bep=6),
    errors.DHTRejected("text", code=301),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error: Exception) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert (str(there), vars(there)) == (str(error), vars(error))
