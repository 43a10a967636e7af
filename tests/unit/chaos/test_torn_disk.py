import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chaos.torn_disk import SECTOR, Act, Disk, acts

HERE = Path("/disk")


def act(kind, name="a", **more):
    return Act(kind=kind, path=f"/disk/{name}", **more)


def cut(disk, folder, seed=0):
    for old in folder.iterdir():
        old.unlink()
    disk.cut_off(folder, random.Random(seed))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def after(*done):
    disk = Disk(HERE)
    for one in done:
        disk.take(one)
    return disk


def test_what_was_synced_is_there_whatever_comes_later(tmp_path):
    disk = after(act("open"), act("write", written=b"kept"), act("sync"))

    assert {b"kept"} == {cut(disk, tmp_path, seed)["a"] for seed in range(20)}


def test_what_was_not_synced_may_be_there_or_not(tmp_path):
    disk = after(act("open"), act("sync"), act("write", written=b"x" * SECTOR))

    assert {b"", b"x" * SECTOR} <= {cut(disk, tmp_path, seed)["a"] for seed in range(40)}


def test_of_one_write_some_sectors_may_be_there(tmp_path):
    disk = after(
        act("open"),
        act("write", written=bytes(2 * SECTOR)),
        act("sync"),
        act("write", written=b"x" * 2 * SECTOR),
    )

    found = {cut(disk, tmp_path, seed)["a"] for seed in range(200)}
    assert b"x" * SECTOR + bytes(SECTOR) in found
    assert bytes(SECTOR) + b"x" * SECTOR in found


def test_a_new_file_may_be_missing_and_a_removed_one_may_be_there(tmp_path):
    made = after(act("open"), act("write", written=b"x"))
    removed = after(act("open"), act("write", written=b"x"), act("sync"), act("remove"))
    gone = after(act("open"), act("sync"), act("remove"), Act(kind="sync", path="/disk"))

    for disk in (made, removed):
        assert {True, False} == {"a" in cut(disk, tmp_path, seed) for seed in range(20)}
    assert not any(cut(gone, tmp_path, seed) for seed in range(20))


@given(seed=st.integers(0, 1000), length=st.integers(0, 2000))
def test_a_cut_file_has_its_new_length_or_its_old_one(seed, length, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp()
    (folder / "cut").mkdir(exist_ok=True)
    disk = after(act("open"), act("write", written=b"y" * 1000), act("sync"), act("cut", at=length))

    assert len(cut(disk, folder / "cut", seed)["a"]) in {1000, length}


def test_a_trace_of_strace_is_read(tmp_path):
    def quoted(text):
        return "".join(f"\\x{byte:02x}" for byte in text)

    file = quoted(b"/disk/a")
    trace = tmp_path / "trace"
    trace.write_text(
        f'openat(AT_FDCWD<{quoted(b"/")}>, "{file}", O_RDWR|O_CREAT, 0644) = 3<{file}>\n'
        f'openat(AT_FDCWD<{quoted(b"/")}>, "{file}", O_RDONLY) = 4<{file}>\n'
        f'pwrite64(3<{file}>, "{quoted(b"17")}", 2, 4096) = 2\n'
        f'pwrite64(3<{file}>, "{quoted(b"18")}", 2, 8192) = -1 ENOSPC (No space left on device)\n'
        f"ftruncate(3<{file}>, 12) = 0\n"
        f"fdatasync(3<{file}>) = 0\n"
        f'unlink("{file}") = 0\n'
        "+++ exited with 0 +++\n"
    )

    assert [*acts(trace)] == [
        act("open"),
        act("write", at=4096, written=b"17"),
        act("cut", at=12),
        act("sync"),
        act("remove"),
    ]
