import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from services.stack.process import Identity, identify, is_same, is_same_process
from services.stack.state import (
    State,
    decode_state,
    endpoints,
    is_running,
    load_credentials,
    locked,
    read_state,
    write_private,
    write_state,
)
from shared.errors import ConfigurationError, Unavailable

SERVER = Identity(4711, 1_000.5, ("postgres", "-D", "somewhere"))
STATE = State(
    supervisor=Identity(4710, 1_000.0, ("medallion", "up")),
    stack="embedded",
    is_ready=True,
    endpoints={"MEDALLION_S3_ENDPOINT": "127.0.0.1:15000"},
    processes={"postgres": SERVER},
    monitors={"silver-1": "http://127.0.0.1:15001"},
)


def own_state(is_ready: bool) -> State:
    return State(identify(os.getpid()), "embedded", is_ready, {"MEDALLION_S3_ENDPOINT": "127.0.0.1:15000"})


def test_a_state_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    assert read_state(tmp_path) == STATE


def test_the_state_file_is_private_and_nothing_else_is_left_beside_it(tmp_path: Path) -> None:
    write_state(tmp_path, STATE)
    write_state(tmp_path, STATE)
    assert [(path.name, path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == [("stack.json", 0o600)]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"supervisor": 3}', '{"supervisor": {"pid": "x"}}'])
def test_a_state_file_that_is_cut_off_or_foreign_counts_as_none(text: str) -> None:
    assert decode_state(text) is None


def test_a_state_of_a_later_release_with_more_fields_is_read() -> None:
    assert decode_state(json.dumps(asdict(STATE) | {"more": 1})) == STATE


def test_a_process_is_the_same_by_start_and_command() -> None:
    assert is_same(SERVER, 1_000.5, SERVER.command)
    assert is_same(SERVER, 1_001.0, SERVER.command)  # the clock was set a little


def test_a_pid_given_to_another_process_is_not_the_same() -> None:
    assert not is_same(SERVER, 2_000.0, SERVER.command)
    assert not is_same(SERVER, 1_000.5, ("vim", "notes.txt"))


def test_this_process_is_recognised_and_a_stranger_with_its_pid_is_not() -> None:
    me = identify(os.getpid())
    assert is_same_process(me)
    assert not is_same_process(Identity(me.pid, me.started_at - 100, me.command))


def test_a_stack_runs_only_when_ready_and_its_supervisor_lives(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    write_state(tmp_path, own_state(is_ready=False))
    assert not is_running(tmp_path)
    write_state(tmp_path, own_state(is_ready=True))
    assert is_running(tmp_path)
    write_state(tmp_path, STATE)  # whose supervisor is long gone
    assert not is_running(tmp_path)


def test_endpoints_say_how_to_start_a_stack_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not running; start it with `medallion up`"):
        endpoints(tmp_path / "missing")
    write_state(tmp_path, own_state(is_ready=False))
    with pytest.raises(Unavailable, match="still starting"):
        endpoints(tmp_path)
    write_state(tmp_path, own_state(is_ready=True))
    assert endpoints(tmp_path) == {"MEDALLION_S3_ENDPOINT": "127.0.0.1:15000"}


def test_credentials_are_made_once_and_private(tmp_path: Path) -> None:
    made = load_credentials(tmp_path)
    assert load_credentials(tmp_path) == made
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert load_credentials(tmp_path / ".." / tmp_path.name) == made


def test_two_folders_have_different_credentials(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert load_credentials(tmp_path / "a").database_password != load_credentials(tmp_path / "b").database_password


def test_damaged_credentials_are_never_replaced_silently(tmp_path: Path) -> None:
    write_private(tmp_path / "credentials.json", '{"database_user": "medallion"}')
    with pytest.raises(ConfigurationError, match="is damaged"):
        load_credentials(tmp_path)


def test_a_folder_in_use_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with locked(tmp_path):
        write_state(tmp_path, own_state(is_ready=True))
        with (
            pytest.raises(ConfigurationError, match=rf"process {os.getpid()}\); stop that one, or name another"),
            locked(tmp_path),
        ):
            pass
    with locked(tmp_path):
        pass
