# virtio-vsock through the kernel's vhost-vsock: the quickest way, where /dev/vhost-vsock is.

# The second of several guests has other numbers: a port of vsock takes one.
guest_cid=$((40 + number)) vsock_port=$((1022 + number))
tunnel_setting="listen: vsock://$guest_cid:$vsock_port"
agent_address=vsock://2:$vsock_port
exec_address=vsock:1026
tunnel_devices=(-device "vhost-vsock-pci,guest-cid=$guest_cid")

tunnel_start() {
    # guest-exec.py reads it: without it, vsock means the socket of the vhost-user backend.
    printf '%s' $guest_cid >"$state/cid"
}

tunnel_prepare() { :; }

tunnel_stop() { :; }
