"""Make a virtual environment from a lock file: ENVIRONMENT LOCK [--editable].

The lock file fixes every package but torch, which is installed by its own step: on
Linux its default build brings gigabytes of CUDA packages, so a machine without an
NVIDIA GPU gets the CPU build wherever one can be had.

uv installs what the lock file fixes. Where uv cannot be had, or reaches no index, since
only pip was told of a mirror, pip does the same more slowly.
"""

import argparse
import ensurepip
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
# Python compiles what is imported. To compile all of torch takes longer than the rest.
INSTALL = ["install", "--disable-pip-version-check", "--quiet", "--no-compile"]
PIP = ["-m", "pip", *INSTALL]
LOCKED = ["--require-hashes", "--no-deps"]  # nothing may bring along a torch of its own


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

    if not (3, 11) <= sys.version_info < (3, 14):
        sys.exit(f"Python 3.11 to 3.13 is needed; this is {sys.version.split()[0]}.")
    print(f"Making {args.environment.name}", flush=True)
    environment = args.environment.absolute()
    python = make_empty(environment)
    install_locked(python, environment, args.lock.absolute())
    install_torch(python, environment)
    if args.editable:
        package = ["--no-build-isolation", "--no-deps", "--editable", str(ROOT)]
        if not attempt(*uv(python, environment), *package):
            run(python, *PIP, *package)
    (environment / "ready").touch()


def make_empty(environment: Path) -> Path:
    """Make the environment from nothing and give the path of its Python."""
    if environment.exists():
        (environment / "ready").unlink(missing_ok=True)
        shutil.rmtree(environment)
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    return environment / "bin" / "python"


def install_locked(python: Path, environment: Path, lock: Path) -> None:
    """Install pip, the uv that requirements.lock fixes, and what the lock file does.

    Python brings pip as a wheel. It runs from there, and uv installs it: ensurepip
    would compile all of it first.
    """
    folder = (
        sysconfig.get_config_var("WHEEL_PKG_DIR") or f"{ensurepip.__path__[0]}/_bundled"
    )
    pip = next(Path(folder).glob("pip-*.whl"), folder)
    wanted = environment / "uv.txt"
    wanted.write_text(re.search(r"^uv==(.*\\\n)+.*\n", LOCK.read_text(), re.M)[0])
    install = uv(python, environment)
    if not (
        attempt(python, f"{pip}/pip", *INSTALL, *LOCKED, "-r", wanted)
        and attempt(*install, "--no-deps", pip)
        and attempt(*install, *LOCKED, "-r", lock)
    ):
        print("uv could not install the packages; pip does it.", flush=True)
        attempt(python, "-m", "ensurepip")
        run(python, *PIP, *LOCKED, "-r", lock)


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
    if attempt(*uv(python, environment), "--torch-backend", "cpu", pin):
        return
    print(f"No CPU build of {pin} could be had: taking the default build.", flush=True)
    run(python, *PIP, pin)


def uv(python: Path, environment: Path) -> list[str | Path]:
    """The command with which uv installs.

    Away from here, where pyproject.toml tells it to leave torch out.
    """
    program = environment / "bin" / "uv"
    return [program, "--directory=/", "pip", "install", "--quiet", "--python", python]


def has_gpu() -> bool:
    """Whether an NVIDIA driver with a GPU answers."""
    return attempt("nvidia-smi", "-L")


def attempt(*command: str | Path) -> bool:
    """Run a command quietly; whether it could be run and succeeded."""
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def run(*command: str | Path) -> None:
    """Run a command; stop with its exit status if it fails."""
    status = subprocess.run(command).returncode
    if status:
        sys.exit(f"Failed with status {status}: {' '.join(map(str, command))}")


if __name__ == "__main__":
    main()
