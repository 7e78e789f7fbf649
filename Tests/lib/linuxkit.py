"""Reads vm/install/linuxkit.yml as LinuxKit does, as far as that can be checked without LinuxKit.

linuxkit.py check FILE UNIT        the names of its keys, the image that its comment builds, what it mounts, and its capabilities
                                   against those of the agent's systemd unit
linuxkit.py run FILE ROOT ADDRESS  runs its command in ROOT with its capabilities and no others, as LinuxKit's runc would, with
                                   another address of the host
"""
import ctypes
import os
import re
import sys

import yaml

# src/cmd/linuxkit/moby/schema.go.
FILE = {"path", "directory", "symlink", "contents", "source", "metadata", "optional", "mode", "uid", "gid"}
IMAGE = {
    "name", "image", "capabilities", "capabilities.add", "ambient", "mounts", "binds", "binds.add", "devices", "tmpfs", "command", "env",
    "cwd", "net", "pid", "ipc", "uts", "userns", "readonly", "maskedPaths", "readonlyPaths", "uid", "gid", "additionalGids",
    "noNewPrivileges", "hostname", "oomScoreAdj", "rootfsPropagation", "cgroupsPath", "resources", "sysctl", "rlimits", "uidMappings",
    "gidMappings", "annotations", "runtime"}
RUNTIME = {"cgroups", "mounts", "mkdir", "interfaces", "bindNS", "namespace"}
LISTS = ("capabilities", "binds", "command")
# linux/capability.h, by their numbers.
CAPABILITIES = """CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME
    SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF
    CHECKPOINT_RESTORE""".split()
PR_CAPBSET_DROP = 24


def known(found, allowed, where):
    if unknown := set(found) - allowed:
        sys.exit(f"{where}: LinuxKit knows no {', '.join(sorted(unknown))}")


def read(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    config = yaml.safe_load(text)
    known(config, {"files", "services"}, path)
    [service] = config["services"]
    known(service, IMAGE, "services")
    known(service["runtime"], RUNTIME, "runtime")
    for key in LISTS:
        if not all(isinstance(word, str) for word in service[key]):
            sys.exit(f"{key}: LinuxKit takes a list of strings")
    return text, config, service


def check(path, unit):
    text, config, service = read(path)
    build = [line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#   ")]
    if f"-t {service['image']} " not in build[0]:
        sys.exit(f"the comment builds another image than {service['image']}")
    if service["command"][0] not in [line.split()[-1] for line in build if line.startswith("COPY ")]:
        sys.exit(f"the image has no {service['command'][0]}")
    made = set(service["runtime"]["mkdir"])
    for entry in config["files"]:
        known(entry, FILE, "files")
        made.add(os.path.dirname("/" + entry["path"]))
    points = {line.split()[1] for line in build if line.startswith("WORKDIR ")}
    for source, target, *_ in (bind.split(":") for bind in service["binds"]):
        if source not in made:
            sys.exit(f"nothing makes {source}, which is bound")
        if target not in points:
            sys.exit(f"the image has no folder {target}")
    key = service["command"][service["command"].index("--key") + 1]
    if key.lstrip("/") not in [entry["path"] for entry in config["files"]]:
        sys.exit(f"no file {key}")
    with open(unit, encoding="utf-8") as file:
        needed = set(re.search(r"^CapabilityBoundingSet=(.*)$", file.read(), re.M)[1].split())
    if missing := needed - set(service["capabilities"]):
        sys.exit(f"the service lacks {', '.join(sorted(missing))}, which {os.path.basename(unit)} has")
    known({word.removeprefix("CAP_") for word in service["capabilities"]}, set(CAPABILITIES), "capabilities")


def run(path, root, address):
    _, _, service = read(path)
    words = service["command"]
    words[words.index("--connect") + 1] = address
    os.chroot(root)
    os.chdir("/")
    libc = ctypes.CDLL(None)
    kept = {word.removeprefix("CAP_") for word in service["capabilities"]}
    for number, name in enumerate(CAPABILITIES):
        # SETPCAP permits the rest of them.
        if name not in kept and name != "SETPCAP":
            libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
    libc.prctl(PR_CAPBSET_DROP, CAPABILITIES.index("SETPCAP"), 0, 0, 0)
    os.execve(words[0], words, {"PATH": "/"})


{"check": check, "run": run}[sys.argv[1]](*sys.argv[2:])
