"""Plots as SVG, transparent and in middle tones, so that they can be read on light and on dark pages."""
import statistics

import matplotlib
matplotlib.use("svg")
import matplotlib.pyplot as plt

INK = "#7d8590"
COLOURS = {
    "direct": "#8c959f", "limit": "#6e7781", "twinport": "#2f81f7", "twinport-tcp": "#79b8ff",
    "pasta": "#d29922", "socat": "#bf8700", "socat2": "#9e6a03", "ssh": "#a371f7", "nio": "#db6d28",
    "yamux": "#57ab5a", "guest": "#8c959f", "hostfwd": "#d29922", "passt": "#db6d28", "gvisor": "#57ab5a",
}

plt.rcParams.update({
    "svg.fonttype": "path", "svg.hashsalt": "twinport", "font.size": 9, "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "none",
    "axes.facecolor": "none", "savefig.facecolor": "none", "legend.frameon": False,
})


def save(figure, file):
    figure.tight_layout()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    plt.close(figure)


def bars(result, names, file, cases=None):
    """One small chart per case, a bar per path, the range of the rounds as a whisker."""
    cases = [case for case in (cases or result["cases"]) if case in result["cases"]]
    columns = 3
    rows = -(-len(cases) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 2.35 * rows), squeeze=False)
    for axis in axes.flat[len(cases):]:
        axis.set_visible(False)
    for axis, case in zip(axes.flat, cases):
        data = result["cases"][case]
        shown = [name for name in reversed(names) if data["values"].get(name)]
        middles = [statistics.median(data["values"][name]) for name in shown]
        errors = [[m - min(data["values"][n]) for m, n in zip(middles, shown)],
                  [max(data["values"][n]) - m for m, n in zip(middles, shown)]]
        axis.barh([result["paths"][name]["title"] for name in shown], middles, xerr=errors,
                  color=[COLOURS.get(name, INK) for name in shown], ecolor=INK,
                  error_kw={"elinewidth": 0.8})
        way = "less is better" if data["lower"] else "more is better"
        axis.set_title(f"{data['title']}\n{data['unit']}, {way}", fontsize=9, color=INK)
        axis.tick_params(axis="y", length=0)
        axis.locator_params(axis="x", nbins=4)
    save(figure, file)


def latencies(result, names, file):
    """Round trips by percentile."""
    detail = result["cases"].get("echo", {}).get("detail", {})
    figure, axis = plt.subplots(figsize=(7, 4))
    for name in names:
        curves = detail.get(name, {}).get("curve")
        if not curves:
            continue
        middle = [statistics.median(column) for column in zip(*curves)]
        axis.plot([index / 3 for index in range(len(middle))], middle, label=result["paths"][name]["title"],
                  color=COLOURS.get(name, INK), linewidth=2 if name == "twinport" else 1.2)
    axis.set_xticks(range(5), ["0", "90 %", "99 %", "99.9 %", "99.99 %"])
    axis.set_xlabel("percentile")
    axis.set_ylabel("echo round trip, µs")
    axis.set_yscale("log")
    axis.legend(labelcolor=INK)
    save(figure, file)


def growth(result, file):
    """Latency and memory by idle flows and by mirrors."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
    empty = [row for row in result["growth"] if row["kind"] == "none"]
    for kind, colour in (("flows", COLOURS["twinport"]), ("mirrors", COLOURS["pasta"])):
        rows = empty[:1] + [row for row in result["growth"] if row["kind"] == kind]
        counts = [row["count"] for row in rows]
        label = "idle flows" if kind == "flows" else "mirrors"
        left.plot(counts, [row["p50"] for row in rows], "o-", color=colour, label=label)
        right.plot(counts, [row["helper_bytes"] / 2**20 for row in rows], "o-", color=colour, label=f"helper, {label}")
        right.plot(counts, [row["agent_bytes"] / 2**20 for row in rows], "o--", color=colour, label=f"agent, {label}")
    left.set_ylabel("echo p50, µs")
    right.set_ylabel("RSS, MiB")
    for axis in (left, right):
        axis.set_xlabel("how many")
        axis.set_ylim(bottom=0)
        axis.legend(labelcolor=INK, fontsize=8)
    save(figure, file)
