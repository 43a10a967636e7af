"""QR codes that a telephone can read."""

import re

from vtn.qr import qr_svg


def test_a_code_is_scaled_to_its_place_and_not_cut_off():
    head = re.match(r"<svg[^>]*>", qr_svg("https://vtn.example:8445/#7K2M-9QXR"))[0]

    assert re.search(r'viewBox="0 0 \d+ \d+"', head)
    assert "width=" not in head
    assert "height=" not in head
    assert "style=" not in head
