"""Methods whose overloads stand in another module, where they do not hide the methods beside them.

A Protocol has the overloads as its `__call__`, and a decorator carries it to the method::

    _typed_as_on: TypedAs[On] = TypedAs()

    class Wire:
        @_typed_as_on
        def on(self, name: str, handler: Callable[..., object]) -> Any: ...

For type checkers ``wire.on`` is an ``On``; for all others it is the method. As annotations are not evaluated, the
Protocol need not be imported when the program runs. A subclass whose overloads are other ones declares ``on:
Overloaded[ItsOn]``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, cast

_Calls = TypeVar("_Calls", covariant=True)


class Overloaded(Protocol[_Calls]):
    """A method of a class that is called as a Protocol says."""

    def __get__(self, instance: object, owner: type, /) -> _Calls: ...


class TypedAs(Generic[_Calls]):
    """A decorator that changes nothing but what type checkers know of a method."""

    def __call__(self, method: Callable[..., Any]) -> Overloaded[_Calls]:
        """The method."""
        return cast("Overloaded[_Calls]", method)
