from doorway.clock import clock_check


def test_a_clock_is_right_once_the_file_is_there(tmp_path):
    file = tmp_path / "synchronized"
    is_sure = clock_check(file)
    assert not is_sure()

    file.touch()
    assert is_sure()


def test_without_a_file_to_look_for_it_is_believed():
    assert clock_check(None)()
