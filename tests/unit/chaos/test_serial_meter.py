from chaos.serial_meter import crc


def test_the_crc_is_that_of_modbus():
    assert crc(bytes.fromhex("01030000000A")) == bytes.fromhex("C5CD")
