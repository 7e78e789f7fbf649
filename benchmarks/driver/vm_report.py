"""What is wanted of Twinport through a VM, and the tables that only such a run has."""
from .report import cell_number, detail, median, number, ratio

HEADLINE = ["tcp-1", "tcp-1-down", "echo", "connect", "udp-echo-64", "guest-tcp-1", "guest-echo", "guest-connect"]

TARGETS = [
    # case, our path, other path, wanted ratio, at least or at most
    ("echo", "twinport", "hostfwd", 1.5, "≤"), ("guest-echo", "twinport", "hostfwd", 1.5, "≤"),
    ("connect", "twinport", "hostfwd", 0.9, "≥"), ("guest-connect", "twinport", "hostfwd", 0.9, "≥"),
    ("udp-echo-64", "twinport", "hostfwd", 0.8, "≥"), ("guest-udp-echo-64", "twinport", "hostfwd", 0.8, "≥"),
    ("tcp-1", "twinport", "hostfwd", 1.5, "≥"), ("tcp-1-down", "twinport", "hostfwd", 1.5, "≥"),
    ("guest-tcp-1", "twinport", "hostfwd", 1.5, "≥"), ("guest-tcp-1-down", "twinport", "hostfwd", 1.5, "≥"),
    ("tcp-1", "twinport-tcp", "twinport", 0.5, "≥"), ("tcp-1-down", "twinport-tcp", "twinport", 0.5, "≥"),
]
# Whom Twinport over vsock is to be ahead of in every case, and by which ratio at least.
EVERY_CASE = [("ssh", 1.0), ("socat", 1.0), ("gvisor", 1.0), ("limit", 0.9)]
# Columns of the table of processor time: case, key, one of what.
SPENT = [("tcp-1", "cpu_per_gib", "GiB in"), ("tcp-1-down", "cpu_per_gib", "GiB out"),
         ("echo", "cpu_per_1000", "1,000 echoes"), ("connect", "cpu_per_1000", "1,000 connections"),
         ("udp-echo-64", "cpu_per_1000", "1,000 datagrams there and back"),
         ("guest-tcp-1", "cpu_per_gib", "GiB from the guest"),
         ("guest-connect", "cpu_per_1000", "1,000 connections from the guest")]
PARTS = ("vcpu", "qemu", "device", "programs")


def advantage(result, case, path, other):
    """How many times as good `path` is, whether more or less is better."""
    value = ratio(result, case, path, other)
    return 1 / value if value and result["cases"][case]["lower"] else value


def worst(result, path, other):
    """The least advantage, and its case."""
    found = [(value, case) for case in result["cases"] if (value := advantage(result, case, path, other)) is not None]
    return min(found) if found else None


def add_every_case(result, add):
    for other, wanted in EVERY_CASE:
        least = worst(result, "twinport", other)
        if least:
            add(f"the least advantage over {result['paths'][other]['title']}: {result['cases'][least[1]]['title']}",
                wanted, "≥", least[0])


def sections(result, names):
    """Tables in Markdown."""
    return ["## CPU", "Seconds of CPU per unit: the guest's processors, with what serves (or asks) there · all else in "
            "QEMU · the vsock device and the desktop's programs that forward.", spent(result, names),
            "## Twinport over vsock beside the others",
            "How many times as good as each other path it is, by the ratios of each round; above 1 it is better.",
            advantages(result, names)]


def spent(result, names):
    columns = [column for column in SPENT if column[0] in result["cases"]]
    lines = ["| | " + " | ".join(label for _, _, label in columns) + " |", "|---|" + "--:|" * len(columns)]
    for name in names:
        cells = []
        for case, key, _ in columns:
            parts = [median(detail(result, case, name, f"{key}_{part}") or []) for part in PARTS]
            vcpu, qemu, device, programs = parts
            cells.append("–" if vcpu is None else
                         " · ".join(cell_number(value) for value in (vcpu, qemu, device + (programs or 0))))
        lines.append(f"| {result['paths'][name]['title']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def advantages(result, names):
    others = [name for name in names if name != "twinport"]
    lines = ["| | " + " | ".join(result["paths"][name]["title"] for name in others) + " |",
             "|---|" + "--:|" * len(others)]
    for case, data in result["cases"].items():
        lines.append(f"| {data['title']} | "
                     + " | ".join(number(advantage(result, case, "twinport", name)) for name in others) + " |")
    return "\n".join(lines)
