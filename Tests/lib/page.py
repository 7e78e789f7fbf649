"""Prints the commands of a page of docs/ that stand behind a prompt, as docs/install.md has them: "desktop$ twinport enable   # why".

page.py FILE PROMPT SECTION[:FIRST-LAST] …   of these sections ("## 3. …": 3) the commands in some of the blocks that have the prompt; 1-1 by
                                             default
page.py FILE yaml SECTION                    the first block of YAML of a section
"""
import re
import sys


def sections(path):
    with open(path, encoding="utf-8") as file:
        parts = re.split(r"^## (\d+)\. .*$", file.read(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.M | re.S)


def commands(text, prompt, first, last):
    found = [block for block in blocks(text, "sh") if re.search(rf"^{re.escape(prompt)} ", block, re.M)]
    if len(found) < last:
        sys.exit(f"only {len(found)} of {last} blocks have the prompt {prompt}")
    for block in found[first - 1:last]:
        for line in block.splitlines():
            if line.startswith(prompt + " "):
                yield re.sub(r"\s{2,}#.*$", "", line.removeprefix(prompt + " "))


def main(path, prompt, *names):
    page = sections(path)
    for name in names:
        section, _, some = name.partition(":")
        first, last = map(int, (some or "1-1").split("-"))
        if section not in page:
            sys.exit(f"{path} has no section {section}")
        if prompt == "yaml":
            print(blocks(page[section], "yaml")[0], end="")
            continue
        for command in commands(page[section], prompt, first, last):
            print(command)


main(*sys.argv[1:])
