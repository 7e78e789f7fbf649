# A guest that needs no VM: a network namespace of its own, held open by a process that sleeps. Without root
# it is a user namespace as well. Each kind of guest has a file like this one, with the same functions.

guest_packages=(iproute2 util-linux)
tunnel_setting="listen: unix://$state/tunnel.sock"

guest_prepare() {
    [ "$docker" = no ] || fail "--docker needs a VM: --guest qemu"
    [ "$tunnel" = auto ] || fail "--tunnel is for VMs: --guest qemu"
}

guest_console() { fail "a namespace has no console: vm/exec sh"; }

guest_start() {
    # /sys shows the namespace's own network.
    local hold='
        ip link set lo up
        # Apart from the desktop'"'"'s own: each kernel chooses ports by itself.
        echo 16384 32767 >/proc/sys/net/ipv4/ip_local_port_range
        mount -t sysfs sysfs /sys 2>/dev/null
        exec sleep infinity'
    if [ "$(id -u)" = 0 ]; then
        setsid unshare --net --mount -- sh -c "$hold" </dev/null >"$state/guest.log" 2>&1 &
    else
        setsid unshare --user --map-root-user --net --mount -- sh -c "$hold" \
            </dev/null >"$state/guest.log" 2>&1 &
    fi
    local pid=$! tries=0
    remember guest "$pid"
    until [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = sleep ]; do
        tries=$((tries + 1))
        kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ] || {
            cat "$state/guest.log" >&2
            fail "no namespace: without root the kernel must allow unprivileged user namespaces \
(sysctl kernel.unprivileged_userns_clone=1)"
        }
        sleep 0.05
    done
}

guest_exec() {
    local pid
    pid=$(pid_of guest) || fail "the guest is not running: vm/up"
    if [ "$(id -u)" = 0 ]; then
        exec nsenter -t "$pid" --net --mount -- "$@"
    else
        exec nsenter -t "$pid" --user --preserve-credentials --net --mount -- "$@"
    fi
}

guest_start_agent() {
    # The file system is the desktop's: no default place for the agent's socket.
    (guest_exec setsid "$build/twinport-agent" --connect "unix://$state/tunnel.sock" \
        --key "$state/tunnel.key" --control "$state/agent.sock") \
        </dev/null >"$state/agent.log" 2>&1 &
    remember agent $!
}

guest_report() {
    local name
    for name in helper agent guest; do
        say "--- $name"
        tail -n 40 "$state/$name.log"
    done
}

guest_stop() {
    end_process agent
    end_process guest
}
