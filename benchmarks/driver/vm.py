"""A VM that all ways lead into at once: vsock, QEMU's user-mode network, passt's, and that of gVisor's network stack.

It is the run's own. What vm/up boots is booted, with one more archive behind its file system: the load generator, the C
paths, and the peers' programs with their libraries. QEMU and all of the desktop live in one network namespace."""
import os
import pathlib
import subprocess
import sys

from . import machine
from .machine import Failure, TOP, run, wait

PACKAGES = ["qemu-system-x86", "qemu-system-data", "seabios", "python3-minimal", "e2fsprogs", "busybox-static", "cpio",
            "dash", "kmod", "binutils", "procps"]
GLUE = str(TOP / "benchmarks/driver/vm.sh")
GUEST_EXEC = str(TOP / "vm/lib/host/guest-exec.py")
# In the guest.
PROGRAMS = "/opt/bench"
LOAD = f"{PROGRAMS}/twinport-load"
# In each network: the guest, and what it has in place of the desktop's loopback.
SLIRP_GUEST, SLIRP_DESKTOP = "10.0.2.15", "10.0.2.2"
PASST_GUEST, PASST_DESKTOP = "10.79.0.1", "10.79.0.2"
GVISOR_GUEST, GVISOR_DESKTOP = "10.80.0.1", "10.80.0.2"


def prepare(lab, copied):
    """Makes what the guest boots, with programs of this machine in it; returns the file."""
    machine.say("making what the guest boots (the first time takes some minutes)")
    run([str(TOP / "vm/up"), "--images"])
    load = run([GLUE, "static", "twinport-load"]).split()[-1]
    root = pathlib.Path(lab.path("root"))
    programs = root / PROGRAMS[1:]
    programs.mkdir(parents=True)
    run(["strip", "-o", str(programs / "twinport-load"), load])
    for name in ("limit", "limit_udp"):
        machine.build_c(name, str(programs / name), ["-static", "-luv_a", "-lpthread", "-ldl"])
    run([GLUE, "files", str(root), *copied])
    image = lab.path("initramfs")
    # The kernel unpacks one archive after the other.
    run(["sh", "-c", 'cp "$1" "$2" && cd "$3" && find . | cpio -o -H newc --quiet -R 0:0 >>"$2"', "sh",
         str(TOP / ".build-vm/initramfs"), image, str(root)])
    return image


class VirtualMachine:
    """Boots with what leads into it from the start: rules of QEMU's hostfwd, options of passt, words for gVisor's
    forwarder."""

    def __init__(self, lab, image, hostfwd, passt, gvisor):
        self.lab = lab
        self.state = lab.path("vm")
        os.makedirs(self.state, 0o700)
        self.place = lab.namespace("desk")
        # By the name of the network: the program behind it, if it starts here, and how the guest has it.
        self.networks = {
            "passt": (self.start_passt(passt), PASST_GUEST, 65520),
            "gvisor": (self.start_gvisor(gvisor), GVISOR_GUEST, 1500)}
        self.environment = dict(os.environ, TWINPORT_VM_STATE=self.state, TWINPORT_VM_MEMORY="1G")
        command = self.glue("start", image).split("\0")[:-1]
        self.kind = "KVM" if "kvm" in command else "TCG"
        machine.say(f"booting the VM ({self.kind})")
        self.qemu = lab.start(self.place, command + ["-name", "twinport-bench,debug-threads=on", *self.cards(hostfwd)])
        console = pathlib.Path(self.state, "console.log")
        wait(lambda: console.exists() and "guest: up" in console.read_text(errors="replace"), "the VM", 240, self.qemu)
        self.set_up()

    def cards(self, hostfwd):
        """QEMU's words for the network cards. The guest tells them apart by their addresses."""
        words = ["-netdev", "user,id=slirp," + ",".join(f"hostfwd={rule}" for rule in hostfwd),
                 "-device", "virtio-net-pci,netdev=slirp,romfile="]
        for name, (program, _, _) in self.networks.items():
            if program:
                words += ["-netdev", f"stream,id={name},server=off,addr.type=unix,addr.path={self.socket(name)}",
                          "-device", f"virtio-net-pci,netdev={name},romfile="]
        return words

    def glue(self, *words):
        done = subprocess.run(
            [GLUE, *words], env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if words[0] == "start":
            self.lab.closers.append(lambda: self.glue("stop"))
        if done.returncode != 0:
            raise Failure(f"vm.sh {words[0]}: {done.stderr.strip()[-2_000:]}")
        return done.stdout

    def start_passt(self, options):
        """passt wants a default route; a cable to nowhere gives it one. None where it does not start."""
        nowhere = self.lab.namespace("nowhere")
        self.lab.join(self.place, nowhere, PASST_DESKTOP.rsplit(".", 1)[0])
        run(["ip", "-n", self.place, "route", "add", "default", "via", PASST_DESKTOP])
        return self.start_network(
            "passt", ["passt", "-f", "-4", "--runas", "0:0", "-s", self.socket("passt"), *options])

    def start_gvisor(self, words):
        program = self.lab.path("netstack")
        if not os.path.exists(program):
            return None
        return self.start_network("gvisor", [program, self.socket("gvisor"), *words])

    def socket(self, name):
        return self.lab.path(f"{name}.sock")

    def start_network(self, name, command):
        program = self.lab.start(self.place, command)
        try:
            wait(lambda: os.path.exists(self.socket(name)), name, 5, program)
        except Failure as failure:
            machine.say(f"left out: {name}: {failure}")
            return None
        return program

    def set_up(self):
        """The other networks, and a place for what the run puts there."""
        def is_open():
            return subprocess.run(
                self.words(["true"]), stdin=subprocess.DEVNULL, capture_output=True, timeout=30).returncode == 0
        wait(is_open, "the guest's door", 30, self.qemu)
        there = [(guest, mtu) for program, guest, mtu in self.networks.values() if program]
        self.run(f"mkdir -p {PROGRAMS}/log\n" + "\n".join(
            f"ip addr add {guest}/24 dev eth{card}; ip link set eth{card} mtu {mtu}; ip link set eth{card} up"
            for card, (guest, mtu) in enumerate(there, 1)))

    def run(self, script, seconds=30, given=""):
        """Runs a shell script in the guest to its end; returns what it printed."""
        done = subprocess.run(
            self.words(["sh", "-c", script]), input=given, capture_output=True, text=True, timeout=seconds)
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise Failure(f"in the guest: {script.strip()[:200]}: {said[-1_000:]}")
        return done.stdout

    def words(self, command):
        """The words that run a command in the guest from here."""
        return [sys.executable, GUEST_EXEC, self.state, *command]

    def write(self, path, text):
        self.run(f"umask 077; mkdir -p $(dirname {path}); cat >{path}", given=text)

    def start(self, name, command):
        """Starts a program in the guest, which ends with it; returns its process number there."""
        return int(self.run(f"setsid {command} >{PROGRAMS}/log/{name} 2>&1 </dev/null & echo $!"))

    def cpu(self):
        """CPU time so far of what all paths share: the guest's processors, all else in QEMU, and the vsock device."""
        spent = {"vcpu": 0.0, "qemu": 0.0}
        for name, seconds in machine.thread_seconds(self.qemu.pid):
            spent["vcpu" if name.startswith("CPU ") else "qemu"] += seconds
        device = int(pathlib.Path(self.state, "vsock.pid").read_text().split()[0])
        return spent | {"device": machine.cpu_seconds([device])}

    def describe(self):
        version = run(["qemu-system-x86_64", "--version"]).splitlines()[0]
        return {"accelerator": self.kind, "qemu": version, "kernel": self.run("uname -r").strip(), "processors": 2}
