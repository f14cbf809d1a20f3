"""Make a virtual environment from a lock file: ENVIRONMENT LOCK [--editable].

The lock file fixes every package but torch, which is installed by its own step: on
Linux its default build brings gigabytes of CUDA packages, so a machine without an
NVIDIA GPU gets the CPU build wherever one can be had.
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PIP = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]


def main() -> None:
    """Build the environment; a half-made one is never left behind as finished."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("lock", type=Path)
    parser.add_argument(
        "--editable",
        action="store_true",
        help="also install the course's package, so that edits take effect at once",
    )
    args = parser.parse_args()

    require_python()
    print(f"Making {args.environment.name} (a few minutes the first time)", flush=True)
    python = make_empty(args.environment)
    # The lock names every package but torch, so that nothing may bring along its own.
    run(python, *PIP, "--require-hashes", "--no-deps", "-r", str(args.lock))
    install_torch(python, args.environment)
    if args.editable:
        package = ["--no-build-isolation", "--no-deps", "--editable", str(ROOT)]
        run(python, *PIP, *package)
    (args.environment / "ready").touch()


def require_python() -> None:
    """Stop with the cure if this Python cannot make the environment."""
    if not (3, 11) <= sys.version_info < (3, 14):
        sys.exit(f"Python 3.11 to 3.13 is needed; this is {sys.version.split()[0]}.")
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit("Python lacks venv. On Debian: apt-get install python3-venv")


def make_empty(environment: Path) -> Path:
    """Make the environment from nothing and give the path of its Python."""
    shutil.rmtree(environment, ignore_errors=True)
    run(sys.executable, "-m", "venv", str(environment))
    return environment / "bin" / "python"


def install_torch(python: Path, environment: Path) -> None:
    """Install the pinned torch, as a CPU build where there is no NVIDIA GPU."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    (pin,) = groups["torch"]
    if sys.platform != "linux" or has_gpu():
        run(python, *PIP, pin)
        return
    # An index or folder set up on this machine may hold the CPU build ...
    if attempt(python, *PIP, f"{pin}+cpu"):
        return
    # ... and uv knows where PyTorch publishes it.
    uv = environment / "bin" / "uv"
    options = ["--quiet", "--python", str(python), "--torch-backend", "cpu"]
    if uv.exists() and attempt(uv, "pip", "install", *options, pin):
        return
    print(f"No CPU build of {pin} could be had: taking the default build.", flush=True)
    run(python, *PIP, pin)


def has_gpu() -> bool:
    """Whether an NVIDIA driver with a GPU answers."""
    return shutil.which("nvidia-smi") is not None and attempt("nvidia-smi", "-L")


def attempt(*command: str | Path) -> bool:
    """Run a command quietly; whether it succeeded."""
    return subprocess.run(command, capture_output=True).returncode == 0


def run(*command: str | Path) -> None:
    """Run a command; stop with its exit status if it fails."""
    status = subprocess.run(command).returncode
    if status:
        sys.exit(f"Failed with status {status}: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
