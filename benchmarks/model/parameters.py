"""Every parameter of the model with its source, and the measured cases that it is checked against.

Sources. *results*: benchmarks/results/2026-11-25.json, a quiet machine of two cores. *measure.py*: processor time of
each program per unit, measured on November 27, 2026; the machine was busy with other work, which took from the rates but
hardly from the processor time of a unit. *code*: what Sources/ or benchmarks/load say. *fitted*: chosen so that the
cases marked "fitted" below come out. *assumed*: nobody measured it here.
"""
from .traffic import Case

US, KIB, MIB = 1e-6, 1 << 10, 1 << 20
MEASURE, CODE, ASSUMED = "measure.py", "code", "assumed"

# Name: value, unit, source.
TABLE = {
    "bulk_send": (0.25, "s/GiB", "measure.py: 0.19-0.28 (client, direct and through Twinport)"),
    "bulk_out": (0.255, "s/GiB", "results: cpu_per_gib of tcp-1, 0.531 for two sides; measure.py: 0.21-0.26"),
    "bulk_in": (0.255, "s/GiB", "the same; measure.py: 0.23-0.26"),
    "bulk_receive": (0.18, "s/GiB", "measure.py: 0.14-0.21 (server)"),
    "bulk_many": (1.13, "", "results: cpu_per_gib of tcp-4 and tcp-64 against tcp-1: less stays in caches"),
    "echo_send": (6.5 * US, "s", "measure.py: 6.9 less wake-ups (client, 16 echoes)"),
    "echo_out": (2.75 * US, "s", "measure.py: a side takes 7.7 of 16 echoes at once, 17.5-18.6 of one"),
    "echo_in": (2.75 * US, "s", "the same"),
    "echo_receive": (5.5 * US, "s", "measure.py: 5.9-6.6 less wake-ups (server)"),
    "connect_send": (55 * US, "s", "measure.py: 55-56 (client, direct, 16 at once)"),
    "connect_accept": (15 * US, "s", "a third of the helper's, by its system calls"),
    "connect_out": (13 * US, "s", "measure.py: the helper takes 45 in all"),
    "connect_in": (13 * US, "s", "the same"),
    "connect_dial": (26 * US, "s", "measure.py: the agent takes 55-58 in all"),
    "connect_receive": (38 * US, "s", "measure.py: 37-39 (server)"),
    "udp_send": (3.4 * US, "s", "measure.py: 3.3-3.6 per datagram sent"),
    "udp_out": (2.1 * US, "s", "measure.py: 1.5-1.7 per datagram sent; the kernel had dropped a fifth of them"),
    "udp_in": (4.0 * US, "s", "measure.py: 3.1-3.6 per datagram sent"),
    "udp_receive": (1.8 * US, "s", "measure.py: 1.2-1.8"),
    "turn": (2 * US, "s", "measure.py: echo against echo-16, shared out among turn, kick and switch"),
    "kick": (2 * US, "s", "the same; what a waker pays"),
    "switch": (2 * US, "s", "the same; what the woken one pays"),
    "rise": (6.8 * US, "s", "fitted: echo; until an idle core runs what was woken"),
    "slice": (0.003, "s", "Linux: base_slice_ns for 2 to 7 cores"),
    "spread": (0.1, "", ASSUMED),
    "tunnel_buffer": (512 * KIB, "B", "code: SO_SNDBUF of the tunnel"),
    "socket_buffer": (320 * KIB, "B", "fitted: tcp-1 and direct; Linux grows it from 128 KiB"),
    "window": (6 * MIB, "B", "code: the largest window"),
    "growth": (12 * MIB, "B", "code: what all windows share"),
    "udp_window": (4096, "datagrams", "code: DatagramPace"),
    "udp_window_beside": (32, "datagrams", "code: DatagramPace, beside TCP"),
    "datagram_buffer": (450, "datagrams", "1 MiB of the kernel's, 2,304 bytes for each"),
    "cipher_gib": (0.355, "s/GiB", "results: cpu_per_gib of tcp-1, 1.24 with Noise and 0.53 without, for two sides"),
    "device_gib": (0.2, "s/GiB", "assumed: a copy (0.04), and a guest's receive buffers of 4 KiB at 0.6 us"),
    "device_packet": (2 * US, "s", "assumed: a packet of at most 64 KiB, or one write of ours"),
    "exit": (2 * US, "s", "assumed: what a write in the guest pays to tell the host"),
    "inject": (3 * US, "s", "assumed: what the device pays for an interrupt in the guest"),
    "guest_rise": (5 * US, "s", "assumed: an idle processor of a guest, beyond rise"),
}
VALUES = {name: value for name, (value, _, _) in TABLE.items()}

# How near the model has to be, and where it is not: README.md says why.
NEAR, FURTHER = 0.15, 0.25
DIRECT = {"direct": True}
# Title: case, options, figure, measured (all from results), how far the model may be off.
MEASURED = {
    "TCP, 1 stream, Gbit/s (fitted)": (Case(), {}, "gbps", 15.76, NEAR),
    "TCP, 1 stream back, Gbit/s": (Case(ways="down"), {}, "gbps", 16.21, NEAR),
    "TCP, 4 streams, Gbit/s": (Case(flows=4), {}, "gbps", 14.77, NEAR),
    "TCP, 64 streams, Gbit/s": (Case(flows=64), {}, "gbps", 13.86, NEAR),
    "TCP, both ways at once, Gbit/s": (Case(ways="both"), {}, "gbps", 19.38, NEAR),
    "TCP, 4 streams both ways, Gbit/s": (Case(flows=4, ways="both"), {}, "gbps", 22.57, FURTHER),
    "echo, p50, us (fitted)": (Case("echo"), {}, "p50", 83.8, NEAR),
    "connect, echo, close, 1/s": (Case("connect"), {}, "rate", 3_497, NEAR),
    "the same, 16 at once, 1/s": (Case("connect", 16), {}, "rate", 9_958, NEAR),
    "UDP echo, 64 B, p50, us": (Case("echo"), {}, "p50", 83.7, NEAR),
    "UDP one way, 1,400 B, 1/s delivered": (Case("udp"), {}, "datagrams", 119_986, NEAR),
    "UDP one way, 1,400 B, 1/s sent": (Case("udp"), {}, "sent", 210_664, NEAR),
    "direct: TCP, 1 stream, Gbit/s (fitted)": (Case(), DIRECT, "gbps", 30.14, NEAR),
    "direct: connect, echo, close, 1/s": (Case("connect"), DIRECT, "rate", 8_654, NEAR),
    "direct: the same, 16 at once, 1/s": (Case("connect", 16), DIRECT, "rate", 22_606, FURTHER),
    "direct: UDP one way, 1,400 B, 1/s": (Case("udp"), DIRECT, "datagrams", 296_917, NEAR),
}
