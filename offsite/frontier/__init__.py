"""The frontier of emulator settings: what each gains, what it gives away, and what it costs.

`read_sweep` lists the settings, `offsite.frontier.measure` rehearses and attacks each of them on
this machine, and `suggest` picks one for the owner's limits. Nothing is published, and no key is
read. Only `measure` imports torch, so a report can be rendered without it.
"""

from offsite.frontier.dominance import dominators, front
from offsite.frontier.plan import Plan
from offsite.frontier.points import Cost, Figure, Frontier, Point, Skill, Wanted
from offsite.frontier.suggestion import Limit, Suggestion, limits, suggest
from offsite.frontier.summary import summarize
from offsite.frontier.sweep import Candidate, read_sweep
from offsite.frontier.titles import Titles

__all__ = [
    "Candidate",
    "Cost",
    "Figure",
    "Frontier",
    "Limit",
    "Plan",
    "Point",
    "Skill",
    "Suggestion",
    "Titles",
    "Wanted",
    "dominators",
    "front",
    "limits",
    "read_sweep",
    "suggest",
    "summarize",
]
