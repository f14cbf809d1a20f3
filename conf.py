"""Sphinx's configuration: what Jupyter Book makes of `_config.yml` and `_toc.yml`."""

from pathlib import Path

from jupyter_book.config import get_final_config

ROOT = Path(__file__).parent
config, _ = get_final_config(
    user_yaml=ROOT / "_config.yml",
    sourcedir=ROOT,
    cli_config={"external_toc_path": "_toc.yml", "latex_individualpages": False},
)
config["nb_execution_cache_path"] = str(ROOT / config["nb_execution_cache_path"])
globals().update(config)
