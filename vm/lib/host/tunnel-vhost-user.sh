# virtio-vsock through QEMU's vhost-user-vsock device and vsock-backend (vm/lib/device): needs no kernel support here and never
# touches this machine's own AF_VSOCK, which may lead to *its* hypervisor.

guest_cid=42
tunnel_setting="listen: firecracker://$state/vsock?port=1024"
agent_address=vsock://2:1024
exec_address=vsock:1026
tunnel_devices=(-chardev "socket,id=vhost,path=$state/vhost" -device vhost-user-vsock-pci,chardev=vhost)

tunnel_start() {
    local backend=$top/.build-vm/vsock-backend
    [ -x "$backend" ] || fail "$backend is not there: vm/build-backend"
    setsid "$backend" "$state/vhost" "$state/vsock" $guest_cid \
        </dev/null >"$state/vsock.log" 2>&1 &
    remember vsock $!
    await 5 "the vsock backend" grep -q ready "$state/vsock.log"
}

tunnel_prepare() { :; }

tunnel_stop() { end_process vsock; }
