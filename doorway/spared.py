# SPDX-License-Identifier: Apache-2.0
"""What libraries import and a program of ours may never need: spared, or put off until its use.

A field device has little memory. OpenSSL alone is 5 MB, for a light node whose broker has no TLS.
"""

import gc
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until something in it is wanted; then that is imported, and copied here.

    Who has imported the stand-in keeps it, and is served as by the module itself. Threads may come
    at once: the import system lets one import, and the others wait.
    """

    def __getattr__(self, name: str) -> Any:  # Any: as of the module it stands for
        if name.startswith("__"):  # what tools ask any module that is loaded
            raise AttributeError(name)
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        _stop_standing(sys.modules.get(self.__name__))
        real = importlib.import_module(self.__name__)
        for one in _standing.pop(self.__name__, []):
            vars(one).update(vars(real))
        return real


_standing: dict[str, list[_Later]] = {}
"""All stand-ins of modules that are not loaded yet, by name."""


def _stand_in(name: str, **known: object) -> _Later:
    one = _Later(name)
    vars(one).update(known)
    _standing.setdefault(name, []).append(one)
    sys.modules[name] = one
    return one


def _stop_standing(module: ModuleType | None) -> None:
    """The next import of its name gets the real module."""
    if isinstance(module, _Later) and sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
        package, _, last = module.__name__.rpartition(".")
        parent = sys.modules.get(package)
        if parent is not None and vars(parent).get(last) is module:
            delattr(parent, last)


@contextmanager
def later(*names: str) -> Iterator[None]:
    """Import inside the block who imports these modules; they themselves wait until they are used.

    Only for modules that do nothing but define names. No change where one is loaded already.
    """
    stand_ins = [_stand_in(name) for name in names if name not in sys.modules]
    yield
    for one in stand_ins:
        package, _, last = one.__name__.rpartition(".")
        if package in sys.modules and sys.modules.get(one.__name__) is one:
            setattr(sys.modules[package], last, one)


@contextmanager
def in_place_of(name: str, **known: object) -> Iterator[None]:
    """Who imports module `name` in the block may take the `known` names without loading it.

    Anything else loads it, and from then on, whoever loaded it, the known names are its own: give
    what is as good as those while nobody has loaded it. No change where it is loaded already.
    """
    was = sys.modules.get(name)
    if was is not None and not isinstance(was, _Later):
        yield
        return
    mine = _stand_in(name, **known)
    try:
        yield
    finally:
        if sys.modules.get(name) is mine:  # else it has been loaded meanwhile
            sys.modules[name] = was or _stand_in(name)


class _Never(Exception):
    """Never raised, and nothing is one."""


def tls_later() -> AbstractContextManager[None]:
    """Import inside the block who takes in OpenSSL whether TLS is spoken or not.

    What they ask of plain connections too is known without it: that they are none of TLS.
    """
    return in_place_of("ssl", SSLSocket=_Never, SSLWantReadError=_Never, SSLWantWriteError=_Never)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Let optional imports of these packages fail while the block runs."""
    loaded = {name: sys.modules.get(name) for name in names}
    for name in names:
        sys.modules[name] = None  # type: ignore[assignment]  # None is how importlib is told so
    try:
        yield
    finally:
        for name, module in loaded.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no garbage while many modules are imported: it takes a tenth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def trusting_nobody() -> Iterator[None]:
    """TLS contexts that are made while the block runs trust no authority of this machine."""
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
