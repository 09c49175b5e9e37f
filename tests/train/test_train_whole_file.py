"""Files are the new ones or the old ones."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from aasp_features.train.whole_file import whole_file, write_whole

FULL = """
import resource, signal, sys
from pathlib import Path
from aasp_features.train.errors import TrainError
from aasp_features.train.whole_file import whole_file
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with whole_file(Path(sys.argv[1])) as temporary:
        temporary.write_bytes(bytes(5000))
except TrainError as error:
    print(error)
"""


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_whole(path, "old")
    with suppress(ZeroDivisionError), whole_file(path) as temporary:
        temporary.write_text("new")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with pytest.raises(ValueError, match=r"gone.a cannot be written \(No such file or directory\)"):
        write_whole(tmp_path / "gone" / "a", "new")
    write_whole(path, "new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a", "new")]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_no_room(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path / "a")], capture_output=True, text=True)
    assert "a cannot be written (File too large); the earlier state is kept" in done.stdout, done.stderr
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("a", "old")]
