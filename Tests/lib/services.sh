#!/bin/bash
# Runs in a VM that systemd started, with both packages installed: what their services do. Tests/packages --vm puts it there as a
# service of its own, which answers on the console. The helper's user is 1000.
set -u
exec >/dev/console 2>&1

check() { # WHAT COMMAND…
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "services: ok: $what"; else
        echo "services: FAILED: $what"
        journalctl --no-pager -n 30 -u twinport-agent -u twinport@1000
    fi
}
is() { [ "$(systemctl show -p "$2" --value "$1")" = "$3" ]; }
soon() { # COMMAND…: within a minute; the VM may be emulated
    local tries=300
    until "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.2
    done
}
main_pid() { systemctl show -p MainPID --value "$1"; }
has_another_pid() { is "$1" ActiveState active && [ "$(main_pid "$1")" != "$2" ]; }

helper=twinport@1000.service agent=twinport-agent.service settings=/home/me/.config/twinport/settings.yaml

check "the agent was enabled by its package" systemctl is-enabled $agent
check "without its key it waits, and has not failed" is $agent ActiveState inactive
check "  because of the condition" is $agent Result exec-condition
install -m 600 /root/tunnel.key /etc/twinport/tunnel.key
systemctl restart $agent
check "with the key it runs" soon is $agent ActiveState active
while true; do echo "from the VM" | nc -lN 127.0.0.1 8000 && touch /root/served; done &
server=$!
check "the desktop's server answers here" soon sh -c 'nc -N 127.0.0.1 8080 </dev/null | grep -q "from the desktop"'
check "the desktop's client was served here" soon test -e /root/served
systemctl stop $agent
kill $server

sudo_me() { setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=/home/me "$@"; }
sudo_me twinport enable
systemctl enable --now $helper
check "the helper runs" soon is $helper ActiveState active
check "it answers its user" soon sudo_me env XDG_RUNTIME_DIR=/run/user/1000 twinport status
pid=$(main_pid $helper)
kill "$pid"
check "it is back after SIGTERM" soon has_another_pid $helper "$pid"

cp $settings /tmp/right
echo 'hostNetworking: { enabeld: true }' >$settings
systemctl restart $helper
check "after a typo it has failed" soon is $helper ActiveState failed
sleep 5
check "  and stays so" is $helper ActiveState failed
check "  without another start" is $helper NRestarts 0
cp /tmp/right $settings
systemctl restart $helper
check "with right settings it runs again" soon is $helper ActiveState active

grants_low_ports() { grep -q '^CapEff:.*[4-7c-f]..$' "/proc/$(main_pid $helper)/status"; }
check "it has no privilege for low ports" sh -c "grep -q '^CapEff:.*[0-389ab]..\$' /proc/$(main_pid $helper)/status"
mkdir -p /etc/systemd/system/$helper.d
printf '[Service]\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE\n' \
    >/etc/systemd/system/$helper.d/override.conf
systemctl daemon-reload
systemctl restart $helper
check "with docs/install.md's lines it has" soon grants_low_ports

# The packages go while their services run.
systemctl start $agent
dpkg -P twinport twinport-agent >/tmp/purge 2>&1
check "purging ends both services" sh -c '! grep -qs "^twinport" /proc/[0-9]*/comm'
check "and leaves no unit" sh -c '! systemctl list-unit-files --no-legend "twinport*" | grep -v override | grep -q twinport'
check "nor a link" sh -c '! ls /etc/systemd/system/*/twinport*.service'
echo "services: end"
systemctl poweroff
