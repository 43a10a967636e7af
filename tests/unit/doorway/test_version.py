from importlib import metadata

from doorway.version import version


def test_it_is_the_version_that_the_distribution_bears():
    assert version() == metadata.version("demandflex")


def test_without_a_distribution_it_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [str(tmp_path)])

    assert version() == "unknown"
