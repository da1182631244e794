"""Writes a report as one HTML file that loads nothing and runs nothing.

Text of other parties cannot become markup: the template escapes every text, and characters that are
invisible or turn the reading direction are shown as escapes. If a text became markup nevertheless,
the policy in the file would keep it from running or loading anything.
"""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import offsite
from offsite.text import printable
from offsite_cli.report.content import Page

MARKS = {"good": "✓", "bad": "✗"}
BLOCKS = {
    "exact": "sent unchanged",
    "changed": "sent, but changed by healing or training",
    "kept": "never sent",
}


def render_page(page: Page) -> str:
    """Write a report as HTML."""
    style = (files("offsite_cli.report") / "templates/report.css").read_text(encoding="utf-8")
    return (
        _environment()
        .get_template("report.html")
        .render(
            page=page,
            style=style,
            policy=_policy(style),
            version=offsite.__version__,
            MARKS=MARKS,
            BLOCKS=BLOCKS,
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("offsite_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )


def _shown(value: Any) -> Any:
    """Escape what has no glyph in a text; markup of the template stays as it is."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _policy(style: str) -> str:
    """Allow the page its own style, and nothing else."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
