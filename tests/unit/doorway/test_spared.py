import gc
import importlib
import os
import ssl
import sys
from threading import Barrier, Thread

import pytest

from doorway.spared import in_place_of, later, tls_later, trusting_nobody, uncollected, without


@pytest.fixture
def rare(tmp_path, monkeypatch):
    """A module that nobody has imported yet, and a package with one inside."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "rare.py").write_text("WORD = 'real'\nOTHER = 2\n")
    (tmp_path / "rares").mkdir()
    (tmp_path / "rares" / "__init__.py").write_text("from . import inner\n")
    (tmp_path / "rares" / "inner.py").write_text("WORD = 'real'\n")
    yield
    for name in ("rare", "rares", "rares.inner"):
        sys.modules.pop(name, None)


def is_loaded(name):
    return hasattr(sys.modules.get(name), "__file__")


def test_a_module_that_is_put_off_is_loaded_when_something_in_it_is_used(rare):
    with later("rare"):
        held = importlib.import_module("rare")
    assert not is_loaded("rare")

    assert held.WORD == "real"
    assert is_loaded("rare")
    assert sys.modules["rare"].OTHER == held.OTHER == 2


def test_what_tools_ask_every_module_loads_none(rare):
    with later("rare"):
        held = importlib.import_module("rare")

    assert getattr(held, "__file__", None) is None
    assert not is_loaded("rare")


def test_a_submodule_that_is_put_off_is_found_through_its_package(rare):
    with later("rares.inner"):
        package = importlib.import_module("rares")
    assert not is_loaded("rares.inner")

    assert package.inner.WORD == "real"
    assert is_loaded("rares.inner")


def test_threads_that_come_at_once_are_all_served(rare):
    with later("rare"):
        held = importlib.import_module("rare")
    start, found = Barrier(8), []

    def ask():
        start.wait()
        found.append((held.WORD, held.OTHER))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [("real", 2)] * 8


def test_a_known_name_is_had_without_loading_and_is_the_real_one_once_somebody_has(rare):
    with in_place_of("rare", WORD="stands"):
        held = importlib.import_module("rare")
    other = importlib.import_module("rare")
    assert held.WORD == "stands"
    assert not is_loaded("rare")

    assert other.WORD == "real"
    assert held.WORD == "real"


def test_what_is_not_known_is_loaded_while_the_block_still_runs(rare):
    with in_place_of("rare", WORD="stands"):
        held = importlib.import_module("rare")
        assert held.OTHER == 2

    assert is_loaded("rare")
    assert held.WORD == "real"


def test_what_is_loaded_already_stays_as_it_is():
    with tls_later(), later("ssl"):
        assert sys.modules["ssl"] is ssl

    assert sys.modules["ssl"] is ssl


def test_a_package_is_out_of_reach_only_as_long_as_it_is_to_be(rare):
    with without("rare", "ssl"), pytest.raises(ImportError):
        importlib.import_module("rare")

    assert importlib.import_module("rare").WORD == "real"
    assert importlib.import_module("ssl") is ssl


def test_the_machines_authorities_are_trusted_again_afterwards(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/somewhere")
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with trusting_nobody():
        assert ssl.create_default_context().cert_store_stats()["x509"] == 0

    assert os.environ["SSL_CERT_FILE"] == "/somewhere"
    assert "SSL_CERT_DIR" not in os.environ


def test_garbage_is_looked_for_again_after_a_fault_too():
    with uncollected():
        assert not gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        importlib.import_module("of_no_such_name")

    assert gc.isenabled()
