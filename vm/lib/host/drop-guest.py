"""Takes a guest out of a settings file that vm/up wrote: drop-guest.py FILE NAME. All else stays as it is."""
import os
import re
import sys

path, name = sys.argv[1:]
if not os.path.exists(path):
    sys.exit(0)
with open(path, encoding="utf-8") as file:
    lines = file.readlines()
kept, dropping = [], False
for line in lines:
    item = re.match(r"  - name: *(\S+)", line)
    if item:
        dropping = item.group(1) == name
    elif line.strip() and not line.startswith("    "):
        dropping = False
    if not dropping:
        kept.append(line)
with open(path + ".new", "w", encoding="utf-8") as file:
    file.writelines(kept)
os.chmod(path + ".new", 0o600)
os.replace(path + ".new", path)
