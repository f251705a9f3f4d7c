"""A roofline as PNG, SVG or a page of HTML, drawn by Vega-Lite without a browser or a network.

``specification`` is plain data, so that it can be looked at without the library; only ``write``
needs it (vl-convert-python, the extra ``plot``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gnomon._errors import CommandError
from gnomon.analysis.roofline_types import DATASHEET, STEP_MARK, MeasuredPoint, Roofline
from gnomon.cli import roofline_plot, roofline_rendering
from gnomon.cli.roofline_plot import Frame, Point
from gnomon.tui import palette

WIDTH_PIXELS = 760
HEIGHT_PIXELS = 440
# Points of one cell share a label: as wide as two letters, as high as a line of text.
LABEL_CELLS = WIDTH_PIXELS // 16, HEIGHT_PIXELS // 18
PNG_SCALE = 2.0

X = {"field": "flop_per_byte", "type": "quantitative"}
Y = {"field": "flops_per_s", "type": "quantitative"}
KIND_NAMES = {
    "datasheet": "datasheet",
    "sustained": "sustained",
    "measured_clock": "at the measured clock",
}
DASHES = {"datasheet": [1, 0], "sustained": [8, 4], "measured_clock": [2, 3]}
SHAPES = {"operator": "circle", "step": "square", "measured": "diamond"}


def write(picture: Roofline, path: Path) -> None:
    """Write the picture in the format that the file's name ends in.

    Raises CommandError where the name ends in something else, or the library is not installed.
    """
    render = _RENDERERS.get(path.suffix.lower())
    if render is None:
        known = ", ".join(_RENDERERS)
        raise CommandError(f"-o {path}: a picture ends in one of {known}", exit_code=2)
    try:
        import vl_convert  # noqa: PLC0415  an extra, and 80 MB
    except ImportError as error:
        raise CommandError(
            f"-o {path}: pictures need vl-convert-python, which is not installed: "
            "pip install 'gnomon[plot]'; without -o the plot is drawn in the terminal"
        ) from error
    path.write_bytes(render(vl_convert, specification(picture)))


def specification(picture: Roofline) -> dict[str, Any]:
    """Return the Vega-Lite specification, with its data in it."""
    frame = roofline_plot.frame_of(picture, *LABEL_CELLS)
    notes = [f"ridge: {ridge}" for ridge in roofline_rendering.ridges(picture)]
    if picture.typical:
        bands = ", ".join(roofline_rendering.typical(picture))
        notes.append(f"{roofline_rendering.typical_of(picture)} {bands}")
    if picture.measured.points:
        notes.append(f"measured: {roofline_rendering.counted_as(picture)}")
    notes += [f"warning: {warning}" for warning in picture.warnings]
    layers = [_roofs(picture, frame), _roof_names(picture, frame)]
    if roofline_plot.points_of(picture):
        layers += [_points(picture), *_marks(picture, frame)]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": roofline_rendering.title(picture),
            "subtitle": notes,
            "anchor": "start",
        },
        "width": WIDTH_PIXELS,
        "height": HEIGHT_PIXELS,
        "background": "white",
        "layer": layers,
    }


def _axes(frame: Frame) -> dict[str, Any]:
    """Return both axes, logarithmic, over what the terminal's plot would show."""
    sides = (
        ("x", X, (frame.left, frame.right), "arithmetic intensity, FLOP per byte of DRAM traffic"),
        ("y", Y, (frame.bottom, frame.top), "FLOP/s of one GPU"),
    )
    return {
        side: {
            **field,
            "title": title,
            "axis": {"format": "~s" if side == "y" else ",~r", "tickCount": 6},
            "scale": {
                "type": "log",
                "domain": [10**low, 10**high],
                "nice": False,
                "clamp": True,
            },
        }
        for side, field, (low, high), title in sides
    }


def _roofs(picture: Roofline, frame: Frame) -> dict[str, Any]:
    corners = [
        {
            "roof": f"{roof.dtype} {KIND_NAMES[roof.kind]}",
            "kind": KIND_NAMES[roof.kind],
            "flop_per_byte": intensity,
            "flops_per_s": roof.at(intensity),
        }
        for roof in picture.roofs
        for intensity in (10**frame.left, roof.ridge_flop_per_byte, 10**frame.right)
    ]
    kinds = list(dict.fromkeys(roof.kind for roof in picture.roofs))
    dash = {
        "field": "kind",
        "type": "nominal",
        "title": "roof",
        "scale": {
            "domain": [KIND_NAMES[kind] for kind in kinds],
            "range": [DASHES[kind] for kind in kinds],
        },
    }
    return {
        "data": {"values": corners},
        "mark": {"type": "line", "color": palette.PANEL, "clip": True},
        "encoding": {
            **_axes(frame),
            "strokeDash": dash,
            "detail": {"field": "roof"},
            "tooltip": [{"field": "roof"}, Y],
        },
    }


def _roof_names(picture: Roofline, frame: Frame) -> dict[str, Any]:
    names = [
        {
            "name": roof.dtype,
            "flop_per_byte": 10**frame.right,
            "flops_per_s": roof.flops_per_s,
        }
        for roof in picture.roofs
        if roof.kind == DATASHEET
    ]
    return {
        "data": {"values": names},
        "mark": {"type": "text", "align": "right", "dy": -7, "fontWeight": "bold"},
        "encoding": {"x": X, "y": Y, "text": {"field": "name"}},
    }


def _points(picture: Roofline) -> dict[str, Any]:
    values = [_value(point) for point in roofline_plot.points_of(picture)]
    labels = list(dict.fromkeys(value["label"] for value in values))
    kinds = list(dict.fromkeys(value["kind"] for value in values))
    shape = {
        "field": "kind",
        "type": "nominal",
        "title": "point",
        "scale": {"domain": kinds, "range": [SHAPES[kind] for kind in kinds]},
    }
    colour = {
        "field": "label",
        "type": "nominal",
        "title": None,
        "sort": None,
        "scale": {"domain": labels, "scheme": "tableau20"},
        "legend": {"symbolLimit": 0, "labelLimit": 240},
    }
    return {
        "data": {"values": values},
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.9},
        "encoding": {
            "x": X,
            "y": Y,
            "shape": shape,
            "color": colour,
            "tooltip": [
                {"field": field, "type": "nominal"} for field in ("label", "kind", "dtype", "notes")
            ]
            + [{**X, "format": ",.3r"}, {**Y, "format": ".3s"}],
        },
    }


def _value(point: Point) -> dict[str, Any]:
    if isinstance(point, MeasuredPoint):
        kind, notes = "measured", f"{point.roof_pct:.1f} % of the datasheet's roof"
    else:
        kind = "step" if point.mark == STEP_MARK else "operator"
        notes = f"{point.share_pct:.1f} % of the time, bound by {point.bound_by}"
    return {
        "label": f"{point.mark} {point.name}",
        "kind": kind,
        "dtype": point.dtype,
        "notes": notes,
        "flop_per_byte": point.flop_per_byte,
        "flops_per_s": point.flops_per_s,
    }


def _marks(picture: Roofline, frame: Frame) -> list[dict[str, Any]]:
    """Write at each place the marks of what is there: operators below, the rest above."""
    below: list[dict[str, Any]] = []
    above: list[dict[str, Any]] = []
    for points in roofline_plot.places(picture, frame).values():
        operators = [one for one in points if _value(one)["kind"] == "operator"]
        for values, shown in (
            (below, operators),
            (above, [one for one in points if one not in operators]),
        ):
            if shown:
                marks = "".join(dict.fromkeys(one.mark for one in shown))
                values.append({**_value(shown[0]), "marks": marks})
    return [
        {
            "data": {"values": values},
            "mark": {"type": "text", "dy": offset_pixels, "fontSize": 12},
            "encoding": {"x": X, "y": Y, "text": {"field": "marks"}},
        }
        for values, offset_pixels in ((below, 14), (above, -12))
    ]


def _png(library: Any, spec: Mapping[str, Any]) -> bytes:
    return bytes(library.vegalite_to_png(spec, scale=PNG_SCALE))


def _svg(library: Any, spec: Mapping[str, Any]) -> bytes:
    return str(library.vegalite_to_svg(spec)).encode()


def _html(library: Any, spec: Mapping[str, Any]) -> bytes:
    return str(library.vegalite_to_html(spec, bundle=True)).encode()


_RENDERERS: Mapping[str, Callable[[Any, Mapping[str, Any]], bytes]] = {
    ".png": _png,
    ".svg": _svg,
    ".html": _html,
}
