import errno
import fcntl
import json
import os
import signal
import stat
from pathlib import Path

import pytest

from vae_anomaly.errors import DataError
from vae_anomaly.io.resumable import partial_file

PLAN = {"model": "m", "input": [["a", 1]]}
LINES = [f"line {number}\n".encode() * (number + 1) for number in range(6)]


def run(target, plan=PLAN, die=lambda done, moment: None):
    """Write all lines, from the last commit of an earlier run; ``die`` is called between all steps."""
    with partial_file(target, plan) as partial:
        for number in range(partial.state.get("done", 0), len(LINES)):
            partial.write(LINES[number][:5])
            die(number, "in the middle of a write")
            partial.write(LINES[number][5:])
            die(number, "after a write")
            partial.commit(done=number + 1)
            die(number, "after a commit")
        partial.finish()


def in_a_child(work):
    """Call ``work`` in another process; returns the signal that ended it, or 0."""
    if (child := os.fork()) == 0:
        work()
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def kill_at(number, moment):
    def die(done, now):
        if (done, now) == (number, moment):
            os.kill(os.getpid(), signal.SIGKILL)

    return die


@pytest.mark.parametrize("moment", ["in the middle of a write", "after a write", "after a commit"])
@pytest.mark.parametrize("number", [0, 1, 5])
def test_a_killed_run_resumes_and_ends_with_the_same_bytes(tmp_path, number, moment):
    target = tmp_path / "out.csv"
    target.write_text("old")
    assert in_a_child(lambda: run(target, die=kill_at(number, moment))) == signal.SIGKILL
    assert target.read_text() == "old"
    begun = []
    run(target, die=lambda done, _: begun.append(done))
    assert target.read_bytes() == b"".join(LINES)
    assert begun[:1] == [number + (moment == "after a commit")][: len(begun)]
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.parametrize("step", ["os.replace", "os.fsync"])
@pytest.mark.parametrize("time", [1, 2, 5])
def test_a_run_killed_during_a_commit_resumes(tmp_path, monkeypatch, step, time):
    target, calls = tmp_path / "out.csv", []

    def last(*_):
        calls.append(1)
        if len(calls) == time:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*_)

    function = getattr(os, step.partition(".")[2])
    with monkeypatch.context() as patch:
        patch.setattr(f"vae_anomaly.io.resumable.{step}", last)
        assert in_a_child(lambda: run(target)) == signal.SIGKILL
    assert not target.exists()
    run(target)
    assert target.read_bytes() == b"".join(LINES)
    assert os.listdir(tmp_path) == ["out.csv"]


def interrupted(target, plan=PLAN):
    def die(number, moment):
        if (number, moment) == (3, "after a write"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(target, plan, die)


def test_the_partial_file_is_hidden_and_private(tmp_path):
    interrupted(tmp_path / "out.csv")
    assert sorted(os.listdir(tmp_path)) == [".out.csv.journal", ".out.csv.partial"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_the_output_has_the_usual_permissions_or_those_of_the_old_file(tmp_path):
    (tmp_path / "probe").touch()
    run(tmp_path / "new.csv")
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "probe").stat().st_mode
    (tmp_path / "old.csv").touch(0o640)
    (tmp_path / "old.csv").chmod(0o640)
    run(tmp_path / "old.csv")
    assert stat.S_IMODE((tmp_path / "old.csv").stat().st_mode) == 0o640


def test_a_run_with_another_plan_begins_anew_and_reports_the_difference(tmp_path):
    target = tmp_path / "out.csv"
    interrupted(target)
    with partial_file(target, {**PLAN, "model": "another"}) as partial:
        assert (partial.state, partial.differs) == ({}, ["model"])
        partial.write(b"new")
        partial.finish()
    assert target.read_text() == "new"


@pytest.mark.parametrize("damage", ["truncate", "journal", "no part"])
def test_a_partial_file_that_contradicts_the_journal_is_discarded(tmp_path, damage):
    target = tmp_path / "out.csv"
    interrupted(target)
    match damage:
        case "truncate":
            os.truncate(tmp_path / ".out.csv.partial", 3)
        case "journal":
            (tmp_path / ".out.csv.journal").write_text('{"plan": {"mod')
        case "no part":
            (tmp_path / ".out.csv.partial").unlink()
    run(target)
    assert target.read_bytes() == b"".join(LINES)


@pytest.mark.parametrize("place", [0, 20, -1], ids=["first", "middle", "last"])
def test_a_flipped_bit_in_the_part_already_written_is_found(tmp_path, place):
    target, part, begun = tmp_path / "out.csv", tmp_path / ".out.csv.partial", []
    interrupted(target)
    size = json.loads((tmp_path / ".out.csv.journal").read_text())["size"]
    written = bytearray(part.read_bytes())
    written[range(size)[place]] ^= 1
    part.write_bytes(written)
    with partial_file(target, PLAN) as partial:
        assert partial.is_damaged
        assert (partial.state, partial.differs) == ({}, [])
    run(target, die=lambda done, _: begun.append(done))
    assert begun[0] == 0
    assert target.read_bytes() == b"".join(LINES)


JUNK = [None, True, -1, 0, 1, 0.5, 10**30, "junk", "", [], [[]], {}, {"done": "3"}, {"a": 1}]


@pytest.mark.parametrize("key", [None, "plan", "size", "state", "digest"])
def test_a_journal_of_wrong_types_is_damage(tmp_path, key):
    """All of these are valid JSON; none ends in an error, or continues where the earlier run did not stop."""
    target, journal = tmp_path / "out.csv", tmp_path / ".out.csv.journal"
    for value in JUNK:
        interrupted(target)
        known = json.loads(journal.read_text())
        journal.write_text(json.dumps(value if key is None else {**known, key: value}))
        with partial_file(target, PLAN) as partial:
            assert partial.state == {}, value
            assert partial.is_damaged or partial.differs, value


def test_a_number_changed_in_the_journal_is_damage(tmp_path):
    target, journal = tmp_path / "out.csv", tmp_path / ".out.csv.journal"
    interrupted(target)
    journal.write_text(journal.read_text().replace('{"done": 3}', '{"done": 2}'))
    with partial_file(target, PLAN) as partial:
        assert partial.is_damaged


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nested"])
def test_a_journal_that_is_no_file_is_not_read(tmp_path, kind):
    target, journal = tmp_path / "out.csv", tmp_path / ".out.csv.journal"
    match kind:
        case "link":
            (tmp_path / "other").write_text("{}")
            journal.symlink_to(tmp_path / "other")
        case "pipe":
            os.mkfifo(journal)
        case "folder":
            journal.mkdir()
        case "nested":
            journal.write_text("[" * 10**5)
    with partial_file(target, PLAN) as partial:
        assert partial.is_damaged
        if kind == "folder":
            journal.rmdir()


def test_two_runs_do_not_write_one_file(tmp_path):
    target = tmp_path / "out.csv"
    with partial_file(target, PLAN) as partial:
        partial.write(b"mine")
        partial.commit(done=1)
        with pytest.raises(DataError, match=r"Another run is writing '.*out.csv'"), partial_file(target, PLAN):
            pytest.fail("two runs write")
        partial.finish()
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["out.csv"]


def test_a_partial_file_that_became_the_output_while_the_lock_was_taken_is_not_changed(tmp_path, monkeypatch):
    target = tmp_path / "out.csv"
    interrupted(target)
    lock, calls = fcntl.flock, []

    def finished_meanwhile(*arguments):
        if not calls:
            os.replace(tmp_path / ".out.csv.partial", target)
        calls.append(arguments)
        lock(*arguments)

    monkeypatch.setattr("fcntl.flock", finished_meanwhile)
    with partial_file(target, PLAN) as partial:
        partial.write(b"new")
        assert target.read_bytes().startswith(LINES[0])  # unchanged until the end
        partial.finish()
    assert calls
    assert target.read_text() == "new"


def test_on_a_full_disk_the_partial_file_stays_and_the_error_reports_it(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def full(number, moment):
        if (number, moment) == (3, "after a write"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match=r"the disk is full. Free some space, then run the same command again"):
        run(target, die=full)
    assert target.read_text() == "old"
    run(target)
    assert target.read_bytes() == b"".join(LINES)


def interrupt_at_once(number, moment):
    raise KeyboardInterrupt


def test_after_an_error_in_the_data_or_before_a_commit_nothing_stays(tmp_path):
    def fault(number, moment):
        if (number, moment) == (3, "after a write"):
            raise DataError("row 4")

    with pytest.raises(DataError, match="row 4"):
        run(tmp_path / "out.csv", die=fault)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out.csv", die=interrupt_at_once)
    assert os.listdir(tmp_path) == []


def test_a_draft_is_converted_and_stays_until_that_is_done(tmp_path):
    target = tmp_path / "out.txt"

    def fails(draft, path):
        path.write_bytes(draft.read_bytes()[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    def draft_once(convert):
        with partial_file(target, PLAN) as partial:
            if not partial.state:
                partial.write(b"draft")
                partial.commit(done=1)
            partial.finish(convert)

    with pytest.raises(DataError, match="disk is full"):
        draft_once(fails)
    assert not target.exists()
    draft_once(lambda draft, path: path.write_bytes(draft.read_bytes().upper()))
    assert target.read_text() == "DRAFT"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(tmp_path / ".out.csv.partial").symlink_to(victim)
    with pytest.raises(OSError), partial_file(tmp_path / "out.csv", PLAN):  # noqa: PT011 (ELOOP)
        pytest.fail("it was followed")
    assert victim.read_text() == "precious"


def test_the_journal_is_json(tmp_path):
    interrupted(tmp_path / "out.csv")
    assert json.loads((tmp_path / ".out.csv.journal").read_text())["state"] == {"done": 3}
