"""Results: medians, the Markdown table, the targets."""
import statistics


def median(values):
    return statistics.median(values) if values else None


def spread(values):
    """Half the range, as a share of the median."""
    middle = median(values)
    return (max(values) - min(values)) / 2 / middle if middle else 0


def number(value):
    if value is None:
        return "–"
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def cell_number(value):
    """As `number`, for what may be very small."""
    return number(value) if value >= 0.1 else f"{value:.3f}"


def cell(result, case, path):
    values = result["cases"][case]["values"].get(path)
    if not values:
        return "–"
    return f"{number(median(values))} ± {spread(values) * 100:.0f} %"


def table(result, names):
    """One row per case, one column per path."""
    names = [name for name in names if name in result["paths"]]
    lines = ["| | " + " | ".join(result["paths"][name]["title"] for name in names) + " |",
             "|---|" + "--:|" * len(names)]
    for case, data in result["cases"].items():
        lines.append(f"| {data['title']}, {data['unit']} | "
                     + " | ".join(cell(result, case, name) for name in names) + " |")
    return "\n".join(lines)


HEADLINE = ["tcp-1", "tcp-4", "echo", "echo-busy", "connect", "udp-echo-64"]


def headline_cases(result):
    from . import vm_report
    return vm_report.HEADLINE if result.get("through") == "vm" else HEADLINE


def headline(result):
    """The README's table: one row per path, medians only."""
    cases = [case for case in headline_cases(result) if case in result["cases"]]
    lines = ["| | " + " | ".join(f"{result['cases'][case]['title']}, {result['cases'][case]['unit']}" for case in cases)
             + " |", "|---|" + "--:|" * len(cases)]
    for name, path in result["paths"].items():
        values = [median(result["cases"][case]["values"].get(name, [])) for case in cases]
        title = f"**{path['title']}**" if name.startswith("twinport") else path["title"]
        lines.append(f"| {title} | " + " | ".join(map(number, values)) + " |")
    return "\n".join(lines)


def detail(result, case, path, key):
    return result["cases"].get(case, {}).get("detail", {}).get(path, {}).get(key)


def ratio(result, case, path, other):
    """The median of the ratios of each round: what ran a few seconds apart is compared."""
    if case not in result["cases"]:
        return None
    ours = result["cases"][case]["values"].get(path)
    theirs = result["cases"][case]["values"].get(other)
    if not ours or not theirs:
        return None
    return median([a / b for a, b in zip(ours, theirs) if b])


def growth_each(rows):
    """Bytes of RSS on each side per idle flow and per mirror, from the smallest number of them to the largest. Not from
    none: the first of them live in what earlier load left free. With one number only (--quick) there is nothing to say."""
    each = {}
    for kind, word in (("flows", "idle flow"), ("mirrors", "mirror")):
        of_kind = [row for row in rows if row["kind"] == kind]
        if len(of_kind) < 2:
            continue
        first, last = of_kind[0], of_kind[-1]
        each[word] = {"from": first["count"], "to": last["count"]} | {
            key: (last[key] - first[key]) / (last["count"] - first["count"]) for key in ("helper_bytes", "agent_bytes")}
    return each


TARGETS = [
    # case, our path, other path, wanted ratio, at least or at most
    ("tcp-1", "twinport", "direct", 0.60, "≥"), ("tcp-1", "twinport", "pasta", 1.0, "≥"),
    ("tcp-1", "twinport", "ssh", 3.0, "≥"), ("tcp-1", "twinport", "nio", 1.0, "≥"),
    ("tcp-1", "twinport", "yamux", 2.0, "≥"),
    ("tcp-4", "twinport", "direct", 0.55, "≥"), ("tcp-4", "twinport", "pasta", 1.2, "≥"),
    ("tcp-both", "twinport", "direct", 0.50, "≥"),
    ("echo", "twinport", "direct", 2.0, "≤"), ("echo", "twinport", "ssh", 1.0, "≤"),
    ("connect", "twinport", "direct", 0.5, "≥"), ("connect", "twinport", "pasta", 1.0, "≥"),
    ("connect", "twinport", "ssh", 1.5, "≥"),
    ("udp-echo-64", "twinport", "pasta", 1.0, "≥"),
    ("udp-flood-1400", "twinport", "pasta", 1.0, "≥"),
    ("tcp-1", "twinport-tcp", "twinport", 0.4, "≥"),
]


def targets(result):
    """Each target, what was measured, what the C limit has in its place, and whether it was met."""
    from . import vm_report
    rows, through_vm = [], result.get("through") == "vm"

    def add(what, wanted, sign, value, limit=None, unit="×"):
        if value is not None:
            rows.append((what, f"{sign} {wanted:g} {unit}", f"{value:.2f} {unit}",
                         f"{limit:.2f} {unit}" if limit is not None else "–",
                         "yes" if (value >= wanted if sign == "≥" else value <= wanted) else "no"))

    for case, ours, other, wanted, sign in vm_report.TARGETS if through_vm else TARGETS:
        if case in result["cases"]:
            add(f"{result['cases'][case]['title']}: {result['paths'].get(ours, {}).get('title', ours)} / "
                f"{result['paths'].get(other, {}).get('title', other)}", wanted, sign,
                ratio(result, case, ours, other),
                ratio(result, case, "limit", other) if ours == "twinport" else None)
    if through_vm:
        vm_report.add_every_case(result, add)
        return rows
    busy = result["cases"].get("echo-busy", {}).get("values", {})
    add("echo p99 beside 8 bulk flows", 5, "≤", median(busy.get("twinport", [])),
        median(busy.get("limit", [])), "ms")
    fairness = detail(result, "tcp-64", "twinport", "fairness")
    if fairness:
        add("fairness of 64 bulk flows (Jain)", 0.95, "≥", median(fairness),
            median(detail(result, "tcp-64", "limit", "fairness") or [0]), "")
    ours, theirs = detail(result, "tcp-1", "twinport", "cpu_per_gib"), detail(result, "tcp-1", "socat2", "cpu_per_gib")
    limit = detail(result, "tcp-1", "limit", "cpu_per_gib")
    if ours and theirs:
        add("CPU per forwarded GiB / socat, two hops", 1.5, "≤", median(ours) / median(theirs),
            median(limit) / median(theirs) if limit else None)
    appear = result.get("appearance", {}).get("twinport", {})
    for key, label in (("guest_appear", "guest listen() → reachable, median"), ("host_appear", "host listen() → reachable, median")):
        add(label, 60, "≤", median(appear.get(key, [])), unit="ms")
    for kind, label in (("flows", "idle flows"), ("mirrors", "mirrors")):
        rows_of = [row for row in result.get("growth", []) if row["kind"] == kind]
        empty = [row["p50"] for row in result.get("growth", []) if row["kind"] == "none"]
        if rows_of and empty:
            last = rows_of[-1]
            add(f"echo p50 with {last['count']:,} {label} / without", 1.3, "≤", last["p50"] / median(empty))
    return rows


def cpu_line(result, names):
    return ["## CPU", "Seconds of CPU that the forwarding programs take per GiB, 1 stream: " + "; ".join(
        f"{result['paths'][name]['title']} {median(values):.2f}" for name in names
        if (values := detail(result, "tcp-1", name, "cpu_per_gib"))) + "."]


def markdown(result, names):
    from . import vm_report
    machine = result["machine"]
    guest = machine.get("vm")
    through = f"Through a VM ({guest['accelerator']}, {guest['qemu']}, Linux {guest['kernel']}, {guest['processors']} " \
        "processors): the servers are in the guest, or the clients where a case says so. " if guest else ""
    parts = [
        f"# Results of {result['date']}" + (", through a VM" if guest else ""),
        f"{through}{machine['processor']}, {machine['cores']} cores, {machine['memory_mib'] // 1024} GiB, Linux "
        f"{machine['kernel']}; {machine['swift']}; commit `{machine['commit']}`; `{result['command']}`: "
        f"{result['rounds']} rounds of {result['seconds']:g} s, paths alternating. Medians ± half the range. Others used "
        f"{machine.get('busy_before', 0):.0%} of the processors before the start.",
        table(result, names),
        *(vm_report.sections(result, names) if guest else cpu_line(result, names)),
    ]
    memory = result.get("idle_memory")
    if memory:
        parts.append("Idle memory (RSS): " + "; ".join(f"{k} {v / 2**20:.1f} MiB" for k, v in memory.items()) + ".")
    if result.get("appearance"):
        parts += ["## How soon a port is there, and gone (ms, median / largest)",
                  "| | guest: appears | vanishes | host: appears | vanishes |\n|---|--:|--:|--:|--:|\n" + "\n".join(
                      f"| {result['paths'][name]['title']} | " + " | ".join(
                          f"{number(median(data[key]))} / {number(max(data[key]))}"
                          for key in ("guest_appear", "guest_vanish", "host_appear", "host_vanish")) + " |"
                      for name, data in result["appearance"].items())]
    if result.get("growth"):
        parts += ["## Growth (Twinport, Unix socket)",
                  "| | echo p50, µs | p99, µs | helper RSS, MiB | agent RSS, MiB |\n|---|--:|--:|--:|--:|\n" + "\n".join(
                      f"| {'nothing else' if row['kind'] == 'none' else format(row['count'], ',') + (' idle flows' if row['kind'] == 'flows' else ' mirrors')} | "
                      f"{row['p50']:.0f} | {row['p99']:.0f} | {row['helper_bytes'] / 2**20:.1f} | {row['agent_bytes'] / 2**20:.1f} |"
                      for row in result["growth"])]
        each = result["growth_each"]
        if each:
            parts += ["RSS that each of them adds, bytes; the kernel's sockets are not in it:",
                      "| | helper | agent |\n|---|--:|--:|\n" + "\n".join(
                          f"| {word} ({data['from']:,} → {data['to']:,}) | {number(data['helper_bytes'])} | "
                          f"{number(data['agent_bytes'])} |" for word, data in each.items())]
    parts += ["## Targets",
              "Ratios are medians of each round's ratio.",
              "| | wanted | measured | C limit | met |\n|---|--:|--:|--:|---|\n" + "\n".join(
                  "| " + " | ".join(row) + " |" for row in targets(result))]
    return "\n\n".join(parts) + "\n"
