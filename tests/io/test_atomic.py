import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

from vae_anomaly.errors import DataError, OutputError
from vae_anomaly.io import atomic as files
from vae_anomaly.io.atomic import claimed, whole_file
from vae_anomaly.io.model_file import write_model


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def default_mode(tmp_path):
    probe = tmp_path / "probe"
    probe.touch()
    mode = mode_of(probe)
    probe.unlink()
    return mode


def test_a_new_file_appears_when_all_is_written(tmp_path, default_mode):
    target = tmp_path / "out.csv"
    with whole_file(target) as path:
        path.write_text("new")
        assert path.parent == tmp_path
        assert mode_of(path) == 0o600
        assert not target.exists()
    assert target.read_text() == "new"
    assert mode_of(target) == default_mode
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OSError])
def test_an_old_file_survives_a_failed_run(tmp_path, error):
    target = tmp_path / "out.csv"
    target.write_text("old")
    with pytest.raises(error), whole_file(target) as path:
        _fail_halfway(path, error)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


def _fail_halfway(path, error):
    path.write_text("half")
    raise error


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_an_old_file_keeps_its_mode(tmp_path, mode):
    target = tmp_path / "out.csv"
    target.touch()
    target.chmod(mode)
    with whole_file(target) as path:
        path.write_text("new")
    assert (target.read_text(), mode_of(target)) == ("new", mode)


def test_a_link_survives_and_what_it_leads_to_is_replaced(tmp_path):
    folder, link = tmp_path / "elsewhere", tmp_path / "link.csv"
    folder.mkdir()
    link.symlink_to(folder / "out.csv")  # leads nowhere yet
    for text in ("first", "second"):
        with whole_file(link) as path:
            assert path.parent == folder
            path.write_text(text)
        assert link.is_symlink()
        assert (folder / "out.csv").read_text() == text


def test_a_killed_process_leaves_the_old_file(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")
    script = (
        "import os, sys\nfrom vae_anomaly.io.atomic import whole_file\n"
        "with whole_file(sys.argv[1]) as path:\n    path.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(files.__file__)))
    subprocess.run([sys.executable, "-c", script, str(target)], cwd=root, check=False)
    assert target.read_text() == "old"


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    """Killed at the last rename, a writer leaves a file as large as its model."""
    target = tmp_path / "model.vae"
    script = (
        "import os, sys\nimport numpy as np\nfrom vae_anomaly.io.model_file import write_model\n"
        "os.replace = lambda *_: os.kill(os.getpid(), 9)\nwrite_model(sys.argv[1], {}, {'x': np.zeros(9999)})\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(files.__file__)))
    subprocess.run([sys.executable, "-c", script, str(target)], cwd=root, check=False)
    (left,) = os.listdir(tmp_path)
    assert (tmp_path / left).stat().st_size > 8 * 9999
    write_model(target, {}, {"x": np.zeros(9)})
    assert os.listdir(tmp_path) == ["model.vae"]


def test_a_writer_at_work_keeps_its_file(tmp_path):
    target = tmp_path / "model.vae"
    with whole_file(target) as path:
        path.write_text("new")
        write_model(target, {}, {"x": np.ones(9)})
        with claimed(target, "busy"):
            assert path.exists()
    assert sorted(os.listdir(tmp_path)) == ["model.vae"]


def test_a_link_in_place_of_a_leftover_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / f".out.csv.{'0' * 24}.tmp").symlink_to(tmp_path / "victim")
    with whole_file(tmp_path / "out.csv") as path:
        path.write_text("new")
    assert (tmp_path / "victim").read_text() == "precious"


def test_two_writers_do_not_mix(tmp_path):
    target = tmp_path / "out.csv"
    with whole_file(target) as first, whole_file(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert target.read_text() == "first"  # the one that ended last


def test_a_pipe_is_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    with whole_file(pipe) as path:
        assert path == pipe
        path.write_text("through")
    reader.join(10)
    assert read == ["through"]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout"])
def test_devices_are_written_directly(device):
    with whole_file(device) as path:
        assert str(path) == device


def test_a_missing_folder_is_an_error(tmp_path):
    with (
        pytest.raises(DataError, match="no folder .*absent.* Create it first"),
        whole_file(tmp_path / "absent" / "a.csv"),
    ):
        pass


def test_a_folder_cannot_be_written_as_a_file(tmp_path):
    with pytest.raises(DataError, match="is a folder"), whole_file(tmp_path):
        pass


def test_circular_links_are_an_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(DataError, match="Choose another name"), whole_file(tmp_path / "a"):
        pass


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have(tmp_path, name):
    with pytest.raises(DataError, match="Cannot write"), whole_file(tmp_path / name):
        pass


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    target = tmp_path / "out.csv"
    target.write_text("old")
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # the tests may run as root, who has every permission
    with pytest.raises(DataError, match="write-protected"), whole_file(target):
        pass
    assert target.read_text() == "old"


REFUSED = [(PermissionError(13, "Permission denied"), "no permission"), (OSError(36, "File name too long"), "too long")]


@pytest.mark.parametrize("error, message", REFUSED)
def test_a_folder_that_refuses_new_files_is_an_error(tmp_path, monkeypatch, error, message):
    def refuse(*_):
        raise error

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(DataError, match=message), whole_file(tmp_path / "out.csv"):
        pass


def test_a_full_disk_is_an_error_in_a_sentence(tmp_path):
    with pytest.raises(DataError, match="disk is full"), whole_file(tmp_path / "out.csv"):
        raise OSError(28, "No space left on device")
    assert not os.listdir(tmp_path)


def test_a_disk_that_is_full_at_the_end_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def refuse(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(OutputError, match="disk is full"), whole_file(target) as path:
        path.write_text("new")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_small_disk_keeps_the_old_file_and_says_what_is_wrong(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        target = tmp_path / "model.vae"
        write_model(target, {}, {"x": np.zeros(100)})
        before = target.read_bytes()
        with pytest.raises(OutputError, match="Cannot write .*model.vae.*disk is full"):
            write_model(target, {}, {"x": np.zeros(100_000)})
        with pytest.raises(OutputError, match="disk is full"), whole_file(target) as path:
            path.write_bytes(bytes(10**6))
        assert target.read_bytes() == before
        assert os.listdir(tmp_path) == ["model.vae"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_the_longest_possible_name_can_be_written_and_claimed(tmp_path):
    target = tmp_path / ("x" * 255)
    with claimed(target, "busy"), whole_file(target) as path:
        path.write_text("new")
    assert os.listdir(tmp_path) == [target.name]


def test_only_one_claim_at_a_time(tmp_path):
    target = tmp_path / "out.csv"
    with claimed(target, "it is busy"):
        with pytest.raises(OutputError, match="it is busy"), claimed(target, "it is busy"):
            pass
        with (
            pytest.raises(OutputError, match="it is busy"),
            claimed(target, "it is busy"),
        ):  # nor did that end the claim
            pass
        with claimed(tmp_path / "other.csv", "it is busy"):
            pass
    with claimed(target, "it is busy"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_claim_ends_with_its_process_and_leftovers_are_removed(tmp_path):
    target = tmp_path / "out.csv"
    script = (
        "import os, sys\nfrom vae_anomaly.io.atomic import claimed, whole_file\n"
        "with claimed(sys.argv[1], ''), whole_file(sys.argv[1]):\n    os.kill(os.getpid(), 9)\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.abspath(files.__file__)))
    subprocess.run([sys.executable, "-c", script, str(target)], cwd=root, check=False)
    assert len(os.listdir(tmp_path)) == 2  # the temporary file and the lock
    (tmp_path / f".out.csv.bak.{'0' * 24}.tmp").touch()  # of another file
    with claimed(target, "it is busy"):
        pass
    assert os.listdir(tmp_path) == [f".out.csv.bak.{'0' * 24}.tmp"]


def test_an_error_in_the_block_of_a_claim_is_raised(tmp_path):
    with pytest.raises(BlockingIOError, match="of the block"), claimed(tmp_path / "out.csv", "it is busy"):
        raise BlockingIOError("of the block")
    assert os.listdir(tmp_path) == []


NO_LOCKS = [(37, "No locks available"), (95, "Operation not supported"), (22, "Invalid argument")]


@pytest.mark.parametrize("error", NO_LOCKS)
def test_on_a_disk_without_locks_claims_do_not_exclude_each_other(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise OSError(*error)

    monkeypatch.setattr("fcntl.flock", refuse)
    with claimed(tmp_path / "out.csv", "it is busy"), claimed(tmp_path / "out.csv", "it is busy"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_system_without_flock_can_be_written_to(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with claimed(tmp_path / "out.csv", "it is busy"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_lock_that_cannot_be_made_is_an_error_in_a_sentence(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".out.csv.lock").symlink_to(victim)
    with (
        pytest.raises(OutputError, match="Cannot write '.*out.csv': .*symbolic links. Choose another place"),
        claimed(tmp_path / "out.csv", "it is busy"),
    ):
        pytest.fail("the link was followed")
    assert victim.read_text() == "precious"


def test_a_hard_link_at_the_name_of_a_lock_loses_nothing(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, tmp_path / ".out.csv.lock")
    with claimed(tmp_path / "out.csv", "it is busy"):
        assert victim.read_text() == "precious"
    assert os.listdir(tmp_path) == ["victim"]


def test_a_claim_ends_though_a_forked_process_has_inherited_it(tmp_path):
    with claimed(tmp_path / "out.csv", "it is busy"):
        ends, stays = os.pipe()
        if (child := os.fork()) == 0:
            os.close(stays)
            os.read(ends, 1)
            os._exit(0)
    try:
        with claimed(tmp_path / "out.csv", "it is busy"):
            pass
    finally:
        os.close(stays)
        os.waitpid(child, 0)


def test_claiming_a_device_does_nothing():
    with claimed("/dev/null", "it is busy"), claimed("/dev/null", "it is busy"):
        pass
