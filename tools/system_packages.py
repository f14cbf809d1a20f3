"""The programs that a command needs and no Python package brings: COMMAND of `make`.

A command of the Makefile runs this before anything that takes long. Root on Debian or
Ubuntu gets what is missing; others get the line that installs it. It runs with the
system's Python, which has no packages.
"""

import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

READY = Path(__file__).resolve().parents[1] / ".venv" / "ready"
APT = ["apt-get", "install", "--yes", "--no-install-recommends"]
# Ubuntu has Chromium as a snap alone, which no container can install.
CHROME = "https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb"


@dataclass(frozen=True)
class Program:
    """A program, the places where it may be, and its package on Debian and Ubuntu.

    commands: names on the PATH, or absolute paths. ubuntu: the address of a package,
    where Ubuntu's archive has none.
    """

    name: str
    commands: tuple[str, ...]
    package: str
    ubuntu: str = ""

    def path(self) -> str:
        """Where it is. RuntimeError names the command that installs it."""
        found = next(filter(None, map(shutil.which, self.commands)), None)
        if found is None:
            raise RuntimeError(request({self.name: self.source()}))
        return found

    def source(self) -> str:
        """The package on this system, or its address."""
        on_ubuntu = os_name() == "ubuntu"
        return self.ubuntu if on_ubuntu and self.ubuntu else self.package


BUBBLEWRAP = Program("bubblewrap", ("bwrap",), "bubblewrap")
CHROMIUM = Program(
    "Chromium",
    (
        *("chromium-headless-shell", "chromium", "chromium-browser"),
        *("google-chrome", "google-chrome-stable"),
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    ),
    "chromium-headless-shell",
    ubuntu=CHROME,
)
GIT = Program("git", ("git",), "git")
JAVA = Program("Java", ("java",), "default-jre-headless")
SETPRIV = Program("setpriv", ("setpriv",), "util-linux")
MARKING = (BUBBLEWRAP, SETPRIV)  # the latter where root marks

NEEDED = {  # command of `make` → what it needs beside Python
    "environment": (),
    "test": (*MARKING, CHROMIUM, GIT, JAVA),
    "lighthouse": (CHROMIUM,),
    "pictures": (CHROMIUM,),
    "benchmark-grading": MARKING,
}


def main() -> None:
    """Install what is missing, or stop with the line that does so."""
    command = sys.argv[1]
    wanted = missing(command)
    if wanted and shutil.which("apt-get") and os.geteuid() == 0:
        print(f"Installing {', '.join(wanted)} with apt-get", flush=True)
        failure = install([*wanted.values()])
        wanted = missing(command)
        if wanted and failure:
            print(failure, file=sys.stderr)
    if wanted:
        sys.exit(request(wanted))
    if BUBBLEWRAP in NEEDED[command] and (said := bubblewrap_says()):
        sys.exit(
            f"bubblewrap does not work here: {said}\nUbuntu 24.04 and later, and most "
            "containers, forbid what it needs. How to allow it: book/instructors.md."
        )


def missing(command: str) -> dict[str, str]:
    """What a command needs and is not here: name → source.

    With what the environment needs where there is none, so that all is asked for once.
    """
    wanted = {}
    makes_environment = command == "environment" or not READY.exists()
    # Debian keeps this part of Python in a package of its own.
    if makes_environment and importlib.util.find_spec("ensurepip") is None:
        wanted["Python's venv"] = f"python3.{sys.version_info.minor}-venv"
    for program in NEEDED[command]:
        if not any(map(shutil.which, program.commands)):
            wanted[program.name] = program.source()
    return wanted


def bubblewrap_says() -> str:
    """Why bubblewrap cannot make what the sandbox of the marking asks of it, or ""."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns"]
    command += ["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    if os.geteuid() == 0:  # root marks as nobody
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        command = ["bwrap", "--dev-bind", "/", "/", *rights, *nobody, *command]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else ""


def request(wanted: dict[str, str]) -> str:
    """What is missing, and the line that installs it on Debian or Ubuntu."""
    addresses = [source for source in wanted.values() if is_address(source)]
    line = [f"wget {address} &&" for address in addresses]
    line += ["sudo apt-get install", *map(as_apt_takes_it, wanted.values())]
    text = f"Missing: {', '.join(wanted)}. On Debian or Ubuntu: {' '.join(line)}"
    if "bubblewrap" in wanted and sys.platform != "linux":
        text += "\nbubblewrap needs Linux: use a container or a virtual machine."
    return text


def install(sources: list[str]) -> str:
    """Install packages as root; what went wrong, or ""."""
    addresses = [source for source in sources if is_address(source)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            apt(["apt-get", "update"], folder)
            if addresses:
                apt([*APT, "ca-certificates"], folder)
            for address in addresses:
                target = Path(folder, Path(address).name)
                with (
                    urllib.request.urlopen(address, timeout=60) as reply,
                    target.open("wb") as file,
                ):
                    shutil.copyfileobj(reply, file)
            apt([*APT, *map(as_apt_takes_it, sources)], folder)
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines()[-3:]
            return "\n".join([f"{shlex.join(error.cmd)} failed:", *said])
        except OSError as error:
            return str(error)
    return ""


def apt(command: list[str], folder: str) -> None:
    """Run apt-get in a folder, asking nobody and waiting for nobody long."""
    options = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20"]
    options += ["-o", "DPkg::Lock::Timeout=60"]  # another apt-get may be at work
    subprocess.run(
        [*command, *options],
        cwd=folder,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        check=True,
        capture_output=True,
        text=True,
    )


def is_address(source: str) -> bool:
    """A package that lies elsewhere than in the system's archive."""
    return "://" in source


def as_apt_takes_it(source: str) -> str:
    """The package's name, or the file that its address gave."""
    return f"./{Path(source).name}" if is_address(source) else source


def os_name() -> str:
    """The name of the Linux distribution, or ""."""
    try:
        return platform.freedesktop_os_release().get("ID", "")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
