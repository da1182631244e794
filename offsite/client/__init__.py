"""The Python API: a home with keys and peers, and the three stages as functions.

`import offsite` offers these names. Importing them loads no torch; running a stage does.
"""

from offsite.client.functions import distill, plug_in, tune
from offsite.client.home import Home
from offsite.client.result import Result

__all__ = ["Home", "Result", "distill", "plug_in", "tune"]
