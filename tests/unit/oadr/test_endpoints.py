import pytest

from oadr.endpoints import path, service_of
from oadr.vocabulary import ServiceName


@pytest.mark.parametrize("service", ServiceName)
def test_a_service_is_found_under_its_own_path(service) -> None:
    assert service_of(path(service)) is service


@pytest.mark.parametrize(
    ("asked", "service"),
    [
        ("/base/OpenADR2/Simple/2.0b/EiReport/", ServiceName.REPORT),
        ("/OpenADR2/./Simple/x/../2.0b/OadrPoll", ServiceName.POLL),
        ("/OpenADR2/Simple/2.0a/EiEvent", None),
        ("/OpenADR2/Simple/2.0b/eievent", None),
        ("/OpenADR2/Simple/2.0b", None),
        ("/EiEvent", None),
        ("/", None),
        ("", None),
        ("/../..", None),
    ],
)
def test_a_path_names_a_service_under_any_base(asked, service) -> None:  # rule 511
    assert service_of(asked) is service
