# TCP over QEMU's user networking, encrypted; for where there is no vsock of any kind.

tunnel_port=$(cat "$state/tunnel-port" 2>/dev/null || free_port)
exec_port=$(cat "$state/exec-port" 2>/dev/null || free_port)
tunnel_setting="listen: tcp://127.0.0.1:$tunnel_port"
agent_address=tcp://10.0.2.2:$tunnel_port
exec_address=tcp:10.0.2.15:1026
tunnel_devices=(-netdev "user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:$exec_port-10.0.2.15:1026"
    -device "virtio-net-pci,netdev=net,romfile=")

tunnel_prepare() {
    printf '%s' "$tunnel_port" >"$state/tunnel-port"
    printf '%s' "$exec_port" >"$state/exec-port"
}

tunnel_start() { :; }

tunnel_stop() { :; }
