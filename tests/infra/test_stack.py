"""The embedded servers, really started, killed and started again."""

import io
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from minio import Minio

from infra.errors import AddressError, HomeError, PortTakenError
from infra.home import load_state
from infra.ports import choose_free
from infra.postgres import Postgres, as_server_user
from infra.processes import end, processes_of
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
from resources.connections import Connections

pytestmark = pytest.mark.slow
BUCKET = "am-test"
PROJECT = Path(__file__).parents[2]


def servers(home: Path) -> Stack:
    return Stack(home, parts=SERVER_PARTS, settings=Settings(home=home, s3_bucket=BUCKET))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Stack]:
    """A stack of the test's own, below a folder that only its owner may enter; not started."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    stack = servers(closed / "home")
    yield stack
    stack.stop()
    assert processes_of(stack.home) == []


def store(at: Connections) -> Minio:
    return Minio(at.s3_host, access_key=at.s3_access_key, secret_key=at.s3_secret_key, secure=False)


def write(at: Connections, name: str) -> None:
    with psycopg.connect(at.database_url) as database:
        database.execute("CREATE TABLE IF NOT EXISTS kept (name text)")
        database.execute("INSERT INTO kept VALUES (%s)", [name])
    store(at).put_object(BUCKET, name, io.BytesIO(name.encode()), len(name))


def read(at: Connections, name: str) -> bool:
    """Whether both servers have what `write` wrote."""
    with psycopg.connect(at.database_url) as database:
        row = database.execute("SELECT 1 FROM kept WHERE name = %s", [name]).fetchone()
    found = store(at).get_object(BUCKET, name)
    with found:
        return row is not None and found.read() == name.encode()


def until(is_so: Callable[[], bool], *, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline


def pid_of(stack: Stack, part: str) -> int | None:
    return next(s.pid for s in stack.status() if s.name == part)


def kill(pid: int | None) -> None:
    assert pid
    os.kill(pid, signal.SIGKILL)


def addresses_listened_on(stack: Stack) -> set[str]:
    return {
        connection.laddr.ip
        for process in processes_of(stack.home)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def test_what_was_written_is_there_after_a_stop_and_a_start(own: Stack) -> None:
    own.start()
    write(own.settings.connections(), "first")
    own.stop()
    assert processes_of(own.home) == []
    assert not any(status.is_ready for status in own.status())
    own.start()
    assert read(own.settings.connections(), "first")
    assert all(status.is_ready for status in own.status())


def test_nothing_listens_off_loopback(stack: Stack) -> None:
    assert addresses_listened_on(stack) == {"127.0.0.1"}


def test_the_object_stores_sockets_are_in_a_folder_of_the_stacks_own(stack: Stack) -> None:
    made = {path.name for path in stack.home.sockets().glob("*.sock")}
    assert {"s3.sock", "filer.sock"} <= made


def test_secrets_are_readable_by_the_owner_alone(stack: Stack) -> None:
    run = stack.home.run
    secret = [stack.home.stack_file, run / "parts.json", run / "supervisord.conf"]
    assert [p for p in secret if p.stat().st_mode & 0o077] == []
    assert stack.home.root.stat().st_mode & 0o777 == 0o700


def test_no_secret_is_in_a_command_line(stack: Stack) -> None:
    state = load_state(stack.home)
    assert state is not None
    words = [word for process in processes_of(stack.home) for word in process.cmdline()]
    assert [s for s in state.secrets.values() if any(s in word for word in words)] == []


def test_a_wrong_password_or_key_is_refused(stack: Stack) -> None:
    connections = stack.settings.connections()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(connections.database_url.replace("am_owner:", "am_owner:x"))
    stranger = Minio(connections.s3_host, access_key="x", secret_key="y" * 8, secure=False)
    with pytest.raises(Exception, match=r"(?i)access key"):
        stranger.list_buckets()


def test_a_killed_part_comes_back_with_its_data(own: Stack) -> None:
    own.start()
    for part in SERVER_PARTS:
        write(own.settings.connections(), part)
        before = pid_of(own, part)
        kill(before)
        until(lambda part=part, before=before: pid_of(own, part) not in {None, before})
        own.start()  # waits until it answers
        assert read(own.settings.connections(), part)


def test_a_start_recovers_from_a_killed_supervisor(own: Stack) -> None:
    own.start()
    write(own.settings.connections(), "orphans")
    supervisor = processes_of(own.home, "supervisord")
    before = {status.pid for status in own.status()}
    for process in supervisor:
        process.kill()
        process.wait()
    own.start()
    assert read(own.settings.connections(), "orphans")
    assert before.isdisjoint({status.pid for status in own.status()})


def test_a_stop_without_a_supervisor_leaves_nothing(own: Stack) -> None:
    own.start()
    for process in processes_of(own.home, "supervisord"):
        process.kill()
        process.wait()
    assert processes_of(own.home) != []
    own.stop()
    assert processes_of(own.home) == []


def test_after_everything_was_killed_at_once_a_start_finds_all_data(own: Stack) -> None:
    own.start()
    write(own.settings.connections(), "power cut")
    end(processes_of(own.home), ask=signal.SIGKILL, patience_s=10)
    own.start()
    assert read(own.settings.connections(), "power cut")


def test_a_taken_internal_port_is_chosen_anew_and_the_data_stays(own: Stack) -> None:
    own.start()
    write(own.settings.connections(), "moved")
    earlier = load_state(own.home)
    own.stop()
    assert earlier is not None
    with socket.socket() as postgres, socket.socket() as master, socket.socket() as volume:
        for taken, name in ((postgres, "postgres"), (master, "master"), (volume, "volume")):
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", earlier.ports[name]))
            taken.listen()
        own.start()
        now = load_state(own.home)
        assert now is not None
        moved = {name for name in now.ports if now.ports[name] != earlier.ports[name]}
        assert moved == {"postgres", "master", "volume"}
        assert now.secrets == earlier.secrets
        assert read(own.settings.connections(), "moved")
        write(own.settings.connections(), "after")
        assert read(own.settings.connections(), "after")


def test_two_stacks_run_side_by_side(own: Stack, stack: Stack, connections: Connections) -> None:
    own.start()
    write(own.settings.connections(), "mine")
    assert "mine" not in [o.object_name for o in store(connections).list_objects(BUCKET)]
    own.stop()
    assert all(status.is_ready for status in stack.status())


def test_a_home_too_deep_for_a_unix_socket_works(tmp_path: Path) -> None:
    deep = servers(tmp_path / ("x" * 60) / ("y" * 60) / "with space")
    try:
        deep.start()
        assert all(status.is_ready for status in deep.status())
        assert deep.home.sockets().stat().st_mode & 0o777 == 0o700
    finally:
        deep.stop()
    assert processes_of(deep.home) == []


def test_a_taken_public_port_is_named_with_its_holder_and_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(home=tmp_path, s3_bucket=BUCKET, api_port=port)
        with pytest.raises(PortTakenError) as told:
            Stack(tmp_path, parts=["api"], settings=settings).start()
    for fact in (str(port), f"pid {os.getpid()}", "AM_API_PORT"):
        assert fact in str(told.value)


def test_an_address_of_another_machine_is_told_apart_from_a_taken_port(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, s3_bucket=BUCKET, api_host="203.0.113.9")
    with pytest.raises(AddressError, match="AM_API_HOST"):
        Stack(tmp_path, parts=["api"], settings=settings).start()


def test_lost_passwords_are_not_replaced_silently(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    with pytest.raises(HomeError, match="restore it from a backup"):
        servers(tmp_path).start()


def test_nothing_is_started_for_what_a_setting_names(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url="postgresql://x@y/z", s3_endpoint="http://s")
    stack = Stack(tmp_path, settings=settings)
    assert "postgres" not in stack.part_names
    assert "objects" not in stack.part_names


def test_an_acknowledged_blob_is_under_the_rule_that_syncs_it(stack: Stack) -> None:
    state = load_state(stack.home)
    assert state is not None
    program = Path(sys.executable).parent / "weed"
    answer = subprocess.run(
        [
            program,
            "shell",
            f"-master=127.0.0.1:{state.ports['master']}.{state.ports['master_grpc']}",
        ],
        input="fs.configure\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"fsync":  true' in answer.stdout.replace('fsync": true', 'fsync":  true')


def test_a_blob_whose_index_entry_a_power_cut_took_is_readable_after_the_reboot(own: Stack) -> None:
    own.start()
    write(own.settings.connections(), "before")
    write(own.settings.connections(), "newest")
    own.stop()
    written = [p for p in own.home.objects.glob(f"{BUCKET}_*.idx") if p.stat().st_size]
    for index in written:
        os.truncate(index, index.stat().st_size // 2)
    (own.home.objects / "boot_id").write_text("another boot")
    own.start()
    assert written != []
    assert read(own.settings.connections(), "before")
    assert read(own.settings.connections(), "newest")


def test_the_catalogue_of_the_blobs_is_in_the_database_that_syncs_its_commits(stack: Stack) -> None:
    state = load_state(stack.home)
    assert state is not None
    with psycopg.connect(Postgres(stack.home, state).url("objects", "objects")) as database:
        tables = {row[0] for row in database.execute("SELECT tablename FROM pg_tables")}
        synced = database.execute("SHOW synchronous_commit").fetchone()
    assert BUCKET in tables
    assert synced == ("on",)
    assert not (stack.home.objects / "filerldb2").exists()


def test_a_catalogue_is_not_lost_from_sight_by_a_setting(own: Stack) -> None:
    own.start()
    url = own.settings.connections().database_url
    own.stop()
    changed = Settings(home=own.home.root, s3_bucket=BUCKET, database_url=url)
    with pytest.raises(HomeError, match="AM_DATABASE_URL"):
        Stack(own.home.root, parts=["objects"], settings=changed).start()


SCRIPT = """
import sys
from pathlib import Path
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
home = Path(sys.argv[1])
stack = Stack(home, parts=SERVER_PARTS, settings=Settings(home=home, s3_bucket="am-test"))
stack.start()
print([status.is_ready for status in stack.status()])
stack.stop()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of an ordinary user, which pytest's own folders are closed to."""
    user = pwd.getpwnam("nobody")
    folder = Path(tempfile.mkdtemp(prefix="am-test-"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    yield folder
    shutil.rmtree(folder)


def python_for_all(folder: Path) -> Path:
    """The system's Python with this one's packages: this one may be closed to others."""
    subprocess.run(["/usr/bin/python3.11", "-m", "venv", "--without-pip", folder], check=True)
    packages = Path(psutil.__file__).parents[1]
    paths = f"{packages}\n{PROJECT}\n"
    (folder / "lib/python3.11/site-packages/ours.pth").write_text(paths)
    (folder / "bin/weed").symlink_to(Path(sys.executable).parent / "weed")
    return folder / "bin/python"


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="no Python for all users")
def test_an_ordinary_user_can_run_it(open_folder: Path) -> None:
    python = python_for_all(open_folder / "python")
    as_user = ["runuser", "-u", "nobody", "--", str(python), "-c"]
    if subprocess.run([*as_user, "import infra"], cwd="/", check=False).returncode:
        pytest.skip(f"{PROJECT} is below a folder that an ordinary user cannot enter")
    told = subprocess.run(
        [*as_user, SCRIPT, str(open_folder / "home")],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.stdout.strip() == "[True, True]", told.stderr


def test_chosen_ports_differ_and_are_below_the_ephemeral_range() -> None:
    chosen = choose_free(map(str, range(50)))
    assert len(set(chosen.values())) == 50
    assert max(chosen.values()) < 32_768


@pytest.mark.skipif(os.getuid() != 0, reason="only root changes to another user")
def test_the_servers_user_may_run_programs_of_a_checkout_that_only_root_may_enter(
    tmp_path: Path,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # As initdb looks: by access(2), which asks for the real user's rights.
    code = "import os, sys; sys.exit(not os.access(sys.argv[1], os.X_OK))"
    done = subprocess.run([*as_server_user(), sys.executable, "-c", code, program], check=False)
    assert done.returncode == 0
