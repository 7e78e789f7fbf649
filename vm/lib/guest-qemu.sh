# A guest that is a VM: QEMU, Debian's cloud kernel, and the tunnel over virtio-vsock.
#
# vsock comes from QEMU's vhost-user-vsock device and vsock-backend.py, which needs no kernel support here and
# never touches this machine's own AF_VSOCK: that may lead to *its* hypervisor.

. "$top/vm/lib/image.sh"

guest_packages=(qemu-system-x86 qemu-system-data seabios python3 "${image_packages[@]}")
guest_tunnel="firecracker://$state/vsock?port=1024"
agent_port=1024 exec_port=1026 guest_cid=42

guest_prepare() {
    mkdir -p "$images"
    "$top/vm/build-agent"
    fetch_kernel
    make_initramfs
}

guest_start() {
    python3 "$top/vm/lib/vsock-backend.py" "$state/vhost" "$state/vsock" $guest_cid \
        </dev/null >"$state/vsock.log" 2>&1 &
    remember vsock $!
    await 5 "the vsock backend" grep -q ready "$state/vsock.log"
    local accel
    accel=$(acceleration)
    say "Booting the VM ($accel)"
    boot "$accel"
    await 60 "the guest" grep -q "guest: up" "$state/console.log"
}

boot() { # ACCELERATION
    local accel=(-accel tcg,thread=multi -cpu max)
    [ "$1" = kvm ] && accel=(-accel kvm -cpu host)
    setsid qemu-system-x86_64 -M q35,memory-backend=mem "${accel[@]}" -smp 2 -m "$guest_memory" \
        -object "memory-backend-memfd,id=mem,size=$guest_memory,share=on" \
        -nodefaults -nographic -no-reboot \
        -chardev "socket,id=console,path=$state/console.sock,server=on,wait=off,logfile=$state/console.log" \
        -serial chardev:console \
        -chardev "socket,id=vhost,path=$state/vhost" -device vhost-user-vsock-pci,chardev=vhost \
        -kernel "$images/kernel/boot/vmlinuz-$(kernel_version)" -initrd "$images/initramfs" \
        -append "console=ttyS0 quiet panic=-1" "${guest_devices[@]}" \
        </dev/null >"$state/qemu.log" 2>&1 &
    remember guest $!
}
guest_memory=512M
guest_devices=()

# kvm where a guest really boots with it: a device that opens is not proof. Tried once and remembered.
acceleration() {
    local known="$images/acceleration"
    if [ ! -f "$known" ]; then
        printf tcg >"$known"
        if [ -w /dev/kvm ] && kvm_boots; then printf kvm >"$known"; fi
    fi
    cat "$known"
}

kvm_boots() {
    local log pid tries=0
    log=$(mktemp)
    qemu-system-x86_64 -M q35 -accel kvm -cpu host -m 256 -nodefaults -nographic -no-reboot \
        -serial "file:$log" -kernel "$images/kernel/boot/vmlinuz-$(kernel_version)" \
        -initrd "$images/initramfs" -append "console=ttyS0 quiet panic=-1" </dev/null >/dev/null 2>&1 &
    pid=$!
    until grep -q "guest: up" "$log"; do
        tries=$((tries + 1))
        if [ $tries -gt 80 ] || ! kill -0 $pid 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null || true
    grep -q "guest: up" "$log"
    local code=$?
    rm -f "$log"
    return $code
}

guest_exec() {
    pid_of guest >/dev/null || fail "the guest is not running: vm/up"
    exec python3 "$top/vm/lib/guest-exec.py" "$state/vsock" $exec_port "$@"
}

guest_start_agent() {
    (guest_exec sh -c "twinport-agent --connect vsock://2:$agent_port >/var/log/agent.log 2>&1 &")
}

guest_console() {
    say "The guest's console; Ctrl-] leaves."
    exec python3 "$top/vm/lib/console.py" "$state/console.sock"
}

guest_stop() {
    end_process guest
    end_process vsock
}
