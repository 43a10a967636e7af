"""The operators' listener over HTTPS: the command line finds it, and a browser's cookie is safe."""

import http.cookiejar
import json
import ssl
import urllib.error
import urllib.request

import pytest

from certs.authority import Authority
from tests.story.test_operator import Place


@pytest.fixture
def place(tmp_path, authority: Authority):
    found = Place(tmp_path, authority)
    pair = authority.folder / "vtn-ecc"
    text = found.config.read_text()
    operator = f'[operator]\ncert = "{pair}.crt"\nkey = "{pair}.key"\n'
    found.config.write_text(text.replace("[operator]\n", operator))
    yield found
    found.close()


def test_the_first_admin_gets_in_over_https_and_the_command_line_trusts_that_certificate_alone(
    place, authority
):
    said = place.run("init").stdout
    password = said[said.index("shown only now: ") :].split()[3]
    assert "one-time" not in place.run("init").stdout
    place.serve()

    assert [one["name"] for one in place.json("user", "list")] == ["admin"]
    assert (
        "one-time password of berta" in place.run("user", "add", "berta", "--role", "viewer").stdout
    )
    refused = place.run("user", "disable", "admin")
    assert (refused.returncode, "admin" in refused.stderr) == (1, True)
    assert place.run("user", "reset", "admin").returncode == 0

    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(f"http://127.0.0.1:{place.operator_port}/healthz", timeout=60)
    tls = ssl.create_default_context(cafile=authority.trust)
    tls.check_hostname = False
    where = f"https://127.0.0.1:{place.operator_port}/openapi.json"
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=tls), urllib.request.HTTPCookieProcessor(jar)
    )
    with opener.open(where, timeout=60) as answer:
        assert json.load(answer)["openapi"].startswith("3.1")
    assert [(one.name, one.secure) for one in jar] == [("vtn_csrf", True)]
    assert len(password) > 20
