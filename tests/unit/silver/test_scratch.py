"""Scratch files live as long as their process: what a killed worker left, the next one removes."""

import subprocess
import sys
from pathlib import Path

from services.silver.scratch import Scratch

HOLD = """
import sys
from pathlib import Path
from services.silver.scratch import Scratch
scratch = Scratch(Path(sys.argv[1]))
(scratch.folder / "download").write_bytes(b"x")
print(scratch.folder.name, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_worker_left_is_removed_and_what_others_use_stays(tmp_path: Path) -> None:
    ours = Scratch(tmp_path)
    (ours.folder / "spool").write_bytes(b"x")
    other = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with other:
        assert other.stdout is not None
        name = other.stdout.readline().decode().strip()
        third = Scratch(tmp_path)
        assert (tmp_path / name / "download").exists()
        other.kill()
    del third
    last = Scratch(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*")) == sorted(
        name for scratch in (ours, last) for name in (scratch.folder.name, f"{scratch.folder.name}.lock")
    )
    assert (ours.folder / "spool").exists()
