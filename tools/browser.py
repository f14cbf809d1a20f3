"""Find the programs that the tests need, or install them where that may be done."""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
# As root a browser cannot start its own sandbox. The rest keeps it from asking the
# network for anything that the page did not ask for.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str:
    """The path of a Chromium. RuntimeError names the command that installs one."""
    return find("Chromium", NAMES, package="chromium", fallbacks=(MAC,))


def java() -> str:
    """The path of a Java runtime, which the HTML checker needs."""
    return find("Java", ("java",), package="default-jre-headless")


def bubblewrap() -> str:
    """The path of bubblewrap, in which marking runs what students wrote."""
    return find("bubblewrap", ("bwrap",), package="bubblewrap")


def find(
    what: str, names: tuple[str, ...], *, package: str, fallbacks: tuple[str, ...] = ()
) -> str:
    """Look a program up; install its Debian package if root may; else say how."""
    for path in (*map(shutil.which, names), *fallbacks):
        if path and os.path.exists(path):
            return path
    if shutil.which("apt-get") and os.geteuid() == 0:
        print(f"Installing {package} with apt-get", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends"]
        subprocess.run([*install, package], check=True, stdout=subprocess.DEVNULL)
        return find(what, names, package=package, fallbacks=fallbacks)
    raise RuntimeError(
        f"{what} is missing, and the tests need it. "
        f"Install it, on Debian or Ubuntu with: sudo apt-get install {package}"
    )
