"""Draws a dashboard of CloudWatch: the widgets of its body, with values that processes and SQS have sent.

The values are lines of the Embedded Metric Format. What the body asks for decides what is drawn: metrics with
their dimensions, ``SELECT``, ``SEARCH`` and arithmetic. Periods are one minute here, as a run takes minutes.
"""

import json
import re
import statistics
from collections import defaultdict

import matplotlib as mpl
from matplotlib.figure import Figure

SELECT = re.compile(r'SELECT (\w+)\((\w+)\) FROM "([\w/]+)"(?: GROUP BY (\w+))?')
SEARCH = re.compile(r"SEARCH\('\{([\w/]+),[\w,]+\} MetricName=\"(\w+)\"', '(\w+)', \d+\)")
STATS = {"sum": sum, "max": max, "maximum": max, "p50": statistics.median}
STYLE = {
    "svg.hashsalt": "dashboard",
    "svg.fonttype": "none",
    "font.size": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def of_lines(lines):
    """Return values by namespace, metric and dimensions, as (minute, value) from the first minute on."""
    documents = [json.loads(line) for line in lines]
    first = min(each["_aws"]["Timestamp"] for each in documents)
    found = defaultdict(list)
    for document in documents:
        head = document.pop("_aws")
        minute = (head["Timestamp"] - first) // 60_000
        labels = {name: value for name, value in document.items() if isinstance(value, str)}
        for name in document.keys() - labels.keys():
            values = document[name] if isinstance(document[name], list) else [document[name]]
            key = (head["CloudWatchMetrics"][0]["Namespace"], name, tuple(sorted(labels.items())))
            found[key] += [(minute, value) for value in values]
    return found


def by_minute(points, stat):
    """Return one value for each minute that has any."""
    minutes = defaultdict(list)
    for minute, value in points:
        minutes[minute].append(value)
    return {minute: _statistic(stat.lower(), values) for minute, values in sorted(minutes.items())}


def _statistic(stat, values):
    if stat == "p95":
        return statistics.quantiles([*values, values[-1]], n=20, method="inclusive")[-1]
    return STATS[stat](values)


def series_of(widget, data):
    """Yield label and values by minute of each visible line of a widget."""
    known = {}
    for entry in widget["metrics"]:
        *path, options = entry if isinstance(entry[-1], dict) else [*entry, {}]
        label = options.get("label", path[1] if path else "")
        stat = options.get("stat", widget["stat"])
        if path:
            space, name, *pairs = path
            key = (space, name, tuple(sorted(zip(pairs[::2], pairs[1::2], strict=True))))
            known[options.get("id")] = by_minute(data.get(key, []), stat)
            lines = [(label, known[options.get("id")])]
        else:
            lines = _expression(options["expression"], label, data, known)
        if options.get("visible", True):
            yield from lines


def _expression(text, label, data, known):
    if found := SELECT.fullmatch(text):
        stat, name, space, by = found.groups()
        return _grouped(data, space, name, by, stat, label)
    if found := SEARCH.fullmatch(text):
        space, name, stat = found.groups()
        return _grouped(data, space, name, "Task", stat, label)
    return [(label, _arithmetic(text, known))]


def _grouped(data, space, name, by, stat, label):
    """Return a line for each value of a dimension; for none, one of all values together."""
    groups = defaultdict(list)
    for (found_space, found_name, labels), points in data.items():
        value = dict(labels).get(by)
        if (found_space, found_name) == (space, name) and (by is None or value):
            groups[value] += points
    return [(f"{label} {value or ''}".strip(), by_minute(points, stat)) for value, points in groups.items()]


def _arithmetic(text, known):
    """Evaluate an expression over what has an id, for the minutes in which all of it has a value."""
    text = re.sub(r"PERIOD\(\w+\)", "60", text)
    names = [name for name in re.findall(r"[a-z]\w*", text) if name in known]
    minutes = set.intersection(*(set(known[name]) for name in names))
    return {
        minute: eval(text, {"__builtins__": {}}, {name: known[name][minute] for name in names})
        for minute in sorted(minutes)
    }


def draw(body, lines, path):
    """Write the picture of a dashboard's body to a file."""
    widgets = [each for each in body["widgets"] if each["type"] == "metric"]
    data = of_lines(lines)
    last = max(minute for points in data.values() for minute, _ in points)
    bottom = max(each["y"] + each["height"] for each in widgets)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(15, bottom * 0.44))
        grid = figure.add_gridspec(bottom, 24, wspace=6, hspace=3)
        for widget in widgets:
            across = slice(widget["x"], widget["x"] + widget["width"])
            place = grid[widget["y"] + 1 : widget["y"] + widget["height"], across]
            axes = figure.add_subplot(place)
            _draw(axes, widget["properties"], data)
            axes.set_xlim(0, last)
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})


def _draw(axes, widget, data):
    axes.set_title(widget["title"], loc="left", fontsize=8, wrap=True)
    axes.set_ylabel(widget["yAxis"]["left"]["label"])
    for label, values in series_of(widget, data):
        if values:
            axes.plot(list(values), list(values.values()), marker=".", linewidth=1, label=label)
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=6, frameon=False)
    else:
        axes.text(0.5, 0.5, "No data", transform=axes.transAxes, ha="center", color="grey")
