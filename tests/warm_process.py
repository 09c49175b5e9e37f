"""Python processes that need not import torch anew: they are forked from a server that has it, but computed nothing."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CONTEXT = multiprocessing.get_context(
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
)
if CONTEXT.get_start_method() == "forkserver":
    # Nothing that reads the environment when it is imported, such as huggingface_hub.
    CONTEXT.set_forkserver_preload(["torch", "numpy", "av", "soundfile"])


class WarmProcess:
    """``python -c CODE ARGUMENTS``, in the environment and working folder of this process or those given."""

    def __init__(self, code: str, *arguments: object, env: dict[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self._arguments = [str(argument) for argument in arguments]
        given = (code, self._arguments, dict(env or os.environ), os.getcwd(), self._said)
        self.process = CONTEXT.Process(target=_run, args=given, daemon=True)
        self.process.start()

    def said(self) -> str:
        """Return what it has printed so far."""
        return self._said[0].read_text(encoding="utf-8") if self._said[0].exists() else ""

    def finish(self, timeout: float = 300) -> subprocess.CompletedProcess:
        """Wait for its end."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise subprocess.TimeoutExpired(self._arguments, timeout)
        said = [path.read_text(encoding="utf-8") for path in self._said]
        self._folder.cleanup()
        return subprocess.CompletedProcess(self._arguments, self.process.exitcode, *said)


def run_python(code: str, *arguments: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return WarmProcess(code, *arguments, env=env).finish()


def _run(code: str, arguments: list[str], env: dict[str, str], folder: str, said: list[Path]) -> None:
    for number, path in enumerate([Path(os.devnull), *said]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    if threads := env.get("OMP_NUM_THREADS"):
        import torch

        torch.set_num_threads(int(threads))
    sys.argv = ["-c", *arguments]
    sys.path[:0] = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path and path not in sys.path]
    multiprocessing.current_process().daemon = False  # it may have children
    exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
