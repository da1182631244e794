"""`kubectl_complete-offsite`: what kubectl calls to complete `kubectl offsite`.

kubectl gives the words behind `offsite`, the unfinished one last, and reads a candidate a line and
then a number behind a colon.
"""

import os
import shlex
import sys

from offsite_cli.app import app
from offsite_cli.output import show_text

_NO_FILES = ":4"
"""kubectl shall not offer the names of files where there is no candidate."""


def main() -> None:
    """Print what may stand in the place of the last word."""
    words = sys.argv[1:] or [""]
    os.environ["_OFFSITE_COMPLETE"] = "complete_bash"
    os.environ["COMP_WORDS"] = shlex.join(["offsite", *words])
    os.environ["COMP_CWORD"] = str(len(words))
    try:
        app(prog_name="offsite")
    finally:
        show_text(_NO_FILES)
