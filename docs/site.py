"""Tells mkdocs what the site is: the Markdown files of the repository, where they are."""

import re
import subprocess
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
DECISIONS = ROOT / "docs/decisions"
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every decision below the page that lists them all."""
    _expand(config.nav or [])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take all Markdown files of the repository as pages, and the files that they link to."""
    pages = _pages()
    linked = {target for page in pages for target in _linked(page)}
    paths = sorted({*pages, *linked})
    own = [File.generated(config, str(p), abs_src_path=str(ROOT / p)) for p in paths]
    return Files([*own, *(file for file in files if file.inclusion.is_excluded())])


def _expand(nav: list[Any]) -> None:
    for entry in nav:
        for title, value in entry.items():
            if title == "Decisions":
                value += [f"docs/decisions/{path.name}" for path in DECISIONS.glob("[0-9]*.md")]
                value.sort(key=lambda path: (not path.endswith("README.md"), path))
            elif isinstance(value, list):
                _expand(value)


def _pages() -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [Path(line) for line in listed.splitlines()]
    return [path for path in paths if path.parts[0] != ".github" and (ROOT / path).is_file()]


def _linked(page: Path) -> set[Path]:
    """Find the files that a page links to and that are no pages."""
    links = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    targets = [(ROOT / page.parent / link).resolve() for link in links if "://" not in link]
    return {
        target.relative_to(ROOT)
        for target in targets
        if target.is_file() and target.suffix != ".md" and target.is_relative_to(ROOT)
    }
