#!/usr/bin/env python3
"""What several tunnel connections with a loop thread each ("lanes") would bring on more cores than two: a simulation,
checked against what was measured with one lane on two cores. docs/performance.md, "More cores", has the conclusion.

benchmarks/model/lanes.py [--check] [--table] [--sensitivity] [--parameters] [--seconds S] [--seed N]

Without one of them: the first three. Deterministic for a seed. A table takes half a minute of one core, --sensitivity
four; no privileges.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.dont_write_bytecode = True
from benchmarks.model import parameters  # noqa: E402
from benchmarks.model.traffic import Case, run  # noqa: E402

LANES, CORES = (1, 2, 4, 8), (2, 4, 8, 16)
# Name: traffic, processes at each end, title, unit. As many processes as flows, up to 16, is what favours lanes most:
# one, as the load generator has, is as narrow as our loop.
CASES = {
    "tcp-1": (Case(), 1, "TCP, 1 stream", "Gbit/s"),
    "tcp-4": (Case(flows=4), 4, "TCP, 4 streams", "Gbit/s"),
    "tcp-64": (Case(flows=64), 16, "TCP, 64 streams", "Gbit/s"),
    "connect-16": (Case("connect", 16), 16, "16 connections at once", "1/s"),
    "echo-16": (Case("echo", 16), 16, "16 echoes at once", "1/s"),
    "connect-one": (Case("connect", 16), 1, "the same connections, one process at each end", "1/s"),
    "echo-one": (Case("echo", 16), 1, "the same echoes, one process at each end", "1/s"),
    "flood": (Case(flows=4, flood=True), 4, "TCP, 4 streams, beside a UDP flood", "Gbit/s"),
}
# Name: short name, options. A cipher is what `tcp://` has; the device is then virtio-net's.
PLACES = {
    "namespaces, Unix socket": ("ns", {}),
    "VM, vsock": ("vm", {"vm": True}),
    "VM, tcp://": ("tcp", {"vm": True, "cipher": True}),
}
# What has to be gained on how many cores for lanes to be built.
WANTED, AT = 1.5, 8


def simulate(given, values, name, cores, lanes, place):
    case, processes, _, _ = CASES[name]
    return run(values, case, cores, lanes, processes=processes, seconds=given.seconds, seed=given.seed,
               **PLACES[place][1])


def figure(value):
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.1f}"


def show_parameters():
    for name, (value, unit, source) in parameters.TABLE.items():
        print(f"{name:18} {value:>10g} {unit:9} {source}")


def check(given):
    """Prints each measured case; returns whether all are as near as they should be."""
    good = True
    print(f"{'2 cores, one lane, one process at each end':44} {'measured':>9} {'modelled':>9} {'error':>7}")
    for title, (case, options, key, measured, allowed) in parameters.MEASURED.items():
        modelled = run(parameters.VALUES, case, 2, seconds=max(given.seconds, 0.2), seed=given.seed, **options)[key]
        error = modelled / measured - 1
        near = abs(error) <= allowed
        good &= near
        note = "" if abs(error) <= parameters.NEAR else ("  see README.md" if near else "  TOO FAR")
        print(f"{title:44} {figure(measured):>9} {figure(modelled):>9} {error:+7.0%}{note}")
    return good


def table(given):
    for place in PLACES:
        for name, (_, _, title, unit) in CASES.items():
            print(f"\n{place}: {title}, {unit}")
            heads = (f"{lanes} lane{'s' if lanes > 1 else ''}" for lanes in LANES)
            print(f"{'cores':>6} " + "".join(f"{head:>14}" for head in heads) + "     gain")
            for cores in CORES:
                found = [simulate(given, parameters.VALUES, name, cores, lanes, place)["rate"] for lanes in LANES]
                rates = "".join(f"{figure(value):>14}" for value in found)
                print(f"{cores:>6} {rates}   {max(found) / found[0]:6.2f}", flush=True)


def concerns(name, place, case):
    """Whether a parameter has a part in a case at a place at all; if not, its gain is not simulated again."""
    sort, options = name.split("_")[0], PLACES[place][1]
    if sort in ("bulk", "echo", "connect", "udp", "datagram"):
        traffic = CASES[case][0]
        return sort == traffic.kind or (traffic.flood and sort in ("udp", "datagram"))
    if sort == "cipher":
        return "cipher" in options and CASES[case][0].kind == "bulk"
    return "vm" in options or sort not in ("device", "exit", "inject", "guest")


def gains(given, values, name=None, base=None):
    """By place and case, what the best number of lanes brings on AT cores."""
    result = {}
    for place in PLACES:
        for case in CASES:
            if name and not concerns(name, place, case):
                result[place, case] = base[place, case]
                continue
            one, *more = (simulate(given, values, case, AT, lanes, place)["rate"] for lanes in (1, 2, 4))
            result[place, case] = max(more) / one
    return result


def sensitivity(given):
    base = gains(given, parameters.VALUES)
    columns = [f"{PLACES[place][0]}:{case}" for place, case in base]
    print(f"{f'gain on {AT} cores':24}" + "".join(f"{column:>15}" for column in columns))
    print(f"{'as it is':24}" + "".join(f"{gain:>15.2f}" for gain in base.values()), flush=True)
    changed = []
    for name, (value, _, _) in parameters.TABLE.items():
        for factor in (0.7, 1.3):
            new = gains(given, dict(parameters.VALUES, **{name: type(value)(value * factor)}), name, base)
            sides = ["*" if (new[key] >= WANTED) != (base[key] >= WANTED) else "" for key in base]
            cells = (f"{gain:.2f}{side}" for gain, side in zip(new.values(), sides))
            print(f"{f'{name} × {factor}':24}" + "".join(f"{cell:>15}" for cell in cells), flush=True)
            changed += [f"{name} × {factor}: {place}, {case}: {base[place, case]:.2f} → {new[place, case]:.2f}"
                        for (place, case), side in zip(base, sides) if side]
    print(f"\nOn the other side of {WANTED} (*):", *(changed or ["nothing"]), sep="\n  ")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0].replace("\n", " "), epilog=__doc__.split("\n\n", 2)[2],
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", action="store_true", help="the parameters, and where each is from")
    parser.add_argument("--check", action="store_true", help="measured cases beside modelled ones; code 1 if one is "
                        "further off than README.md admits")
    parser.add_argument("--table", action="store_true", help="1, 2, 4 and 8 lanes on 2, 4, 8 and 16 cores, between "
                        "namespaces and in a VM")
    parser.add_argument("--sensitivity", action="store_true", help="what each parameter, 30 %% lower and higher, does "
                        "to the gain on 8 cores, and whether the decision changes")
    parser.add_argument("--seconds", type=float, default=0.1, help="how long a simulated case takes")
    parser.add_argument("--seed", type=int, default=1, help="of the spread of each step")
    given = parser.parse_args()
    if not 0.01 <= given.seconds <= 60:
        parser.error(f"--seconds {given.seconds:g}: from 0.01 to 60")
    everything = not (given.parameters or given.check or given.table or given.sensitivity)
    if given.parameters or everything:
        show_parameters()
    good = check(given) if given.check or everything else True
    if given.table or everything:
        table(given)
    if given.sensitivity:
        sensitivity(given)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
