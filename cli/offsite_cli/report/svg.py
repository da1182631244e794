"""A plot of matplotlib as an inline SVG that follows the style of its page.

Text stays text, in the page's font. Colours are those of the style sheet, so that a plot is dark on
a dark page: a plot draws with an `Ink`, which becomes the class of an element. There are no style
attributes, so that the page's security policy can forbid them.
"""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree as ET

from matplotlib import rc_context
from matplotlib.figure import Figure as Drawing

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_TAGS = frozenset({"svg", "g", "path", "rect", "circle", "line", "text", "tspan", "use", "defs"})
_TAGS |= {"clipPath"}
_KEPT = frozenset(
    {
        *("stroke-width", "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "opacity"),
        *("stroke-linejoin", "fill-opacity", "stroke-opacity", "text-anchor", "font-size"),
        *("font-weight",),
    }
)
"""Properties of a style that become attributes. The page decides all others, such as the font."""
_PAINTS = ("fill", "stroke")
_REFERENCE = re.compile(r"url\(#([\w-]+)\)")


class Ink(StrEnum):
    """A colour by its purpose, as matplotlib takes it. The style sheet says what it looks like."""

    TEXT = "#000001"
    MUTED = "#000002"
    GRID = "#000003"
    PAPER = "#000004"
    MODEL_OWNER = "#000005"
    DATA_OWNER = "#000006"
    BOTH = "#000007"


@contextmanager
def styled(name: str) -> Iterator[None]:
    """Set how matplotlib draws and writes a plot of this name."""
    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # a dollar sign in the name of a job is one
        "font.size": 12.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
    }
    with rc_context(style):
        yield


def inline_svg(drawing: Drawing, name: str) -> str:
    """Write a plot as an `svg` element; call it while the style is set.

    No id is one that another plot on the page may have.

    Args:
        name: Unique on the page, and valid as an id.
    """
    stream = io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawing.savefig(stream, format="svg", metadata=nothing, transparent=True)
    root = ET.fromstring(stream.getvalue())
    _clean(root, name)
    root.attrib = {"viewBox": root.attrib["viewBox"], "aria-hidden": "true", "focusable": "false"}
    return ET.tostring(root, encoding="unicode")


def _clean(element: ET.Element, name: str) -> None:
    """Keep what a picture needs, in the names of HTML."""
    element.tag = element.tag.removeprefix(_SVG)
    element.attrib = dict(_attributes(element.attrib, name))
    for child in [*element]:
        if child.tag.removeprefix(_SVG) in _TAGS:
            _clean(child, name)
        else:
            element.remove(child)


def _attributes(given: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    style = dict(_declarations(given.get("style", "")))
    inks = [f"{paint}-{ink}" for paint in _PAINTS if (ink := _ink(style.get(paint)))]
    if inks:
        yield "class", " ".join(inks)
    yield from ((paint, "none") for paint in _PAINTS if style.get(paint) == "none")
    yield from ((key, value) for key, value in style.items() if key in _KEPT)
    for key, value in given.items():
        if key == "id":
            yield "id", f"{name}-{value}"
        elif key == _HREF:
            yield "href", value.replace("#", f"#{name}-")
        elif key != "style":
            yield key, _REFERENCE.sub(rf"url(#{name}-\1)", value)


def _declarations(style: str) -> Iterator[tuple[str, str]]:
    for declaration in style.split(";"):
        key, colon, value = declaration.partition(":")
        if colon:
            yield key.strip(), value.strip()


def _ink(colour: str | None) -> str:
    """Return the name of an ink in the style sheet; empty: it is none."""
    return next((ink.name.lower().replace("_", "-") for ink in Ink if ink == colour), "")
