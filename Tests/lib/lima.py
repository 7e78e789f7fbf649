"""Reads vm/install/lima.yaml as Lima 1.1 to 2 do, as far as that can be checked without Lima: which of a guest's
listeners its rules keep from being forwarded (rule by rule, the first that matches, as pkg/portfwd does), and prints the
script that Lima runs in the VM.

lima.py FILE
"""
import ipaddress
import sys

import yaml


def matches(rule, address, must_be_zero):
    """Whether a rule is about a listener on this address. `must_be_zero`: what a rule for 0.0.0.0 means without the key."""
    of_rule = ipaddress.ip_address(rule.get("guestIP", "127.0.0.1"))
    exact = rule.get("guestIPMustBeZero", must_be_zero and str(of_rule) == "0.0.0.0")
    return address.is_unspecified or address == of_rule \
        or (str(address) == "::1" and str(of_rule) == "127.0.0.1") or (of_rule.is_unspecified and not exact)


def is_forwarded(rules, address, port, protocol, must_be_zero):
    for rule in rules:
        first, last = rule.get("guestPortRange", [1, 65535])
        if rule.get("proto", "any") not in ("any", protocol) or not first <= port <= last:
            continue
        if not matches(rule, address, must_be_zero):
            continue
        of_rule = ipaddress.ip_address(rule.get("guestIP", "127.0.0.1"))
        if rule.get("ignore") and address.is_unspecified and not of_rule.is_unspecified:
            continue
        return not rule.get("ignore")
    return False


def main(path):
    with open(path, encoding="utf-8") as file:
        template = yaml.safe_load(file)
    # Lima appends this one itself.
    rules = template["portForwards"] + [{"guestIP": "127.0.0.1"}]
    for must_be_zero in (False, True):
        for text in ("0.0.0.0", "::", "127.0.0.1", "::1", "127.0.0.53", "192.168.5.15"):
            for port in (1, 8000, 65535):
                for protocol in ("tcp", "udp"):
                    if is_forwarded(rules, ipaddress.ip_address(text), port, protocol, must_be_zero):
                        sys.exit(f"Lima would forward {text}:{port} ({protocol}), too")
    scripts = template["provision"]
    if [script["mode"] for script in scripts] != ["system"]:
        sys.exit("not one script that root runs")
    print(scripts[0]["script"], end="")


main(*sys.argv[1:])
