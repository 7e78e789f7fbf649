# A guest that is a VM: QEMU and Debian's cloud kernel. How helper and agent meet is one of the files
# tunnel-*.sh beside this one.

. "$top/vm/lib/host/image.sh"

guest_packages=(qemu-system-x86 qemu-system-data seabios python3 e2fsprogs "${image_packages[@]}")
tunnel=${tunnel:-$(cat "$state/tunnel" 2>/dev/null || echo auto)}
[ "$tunnel" = auto ] && tunnel=$(if [ -w /dev/vhost-vsock ]; then echo vhost; else echo vhost-user; fi)
[ -f "$top/vm/lib/host/tunnel-$tunnel.sh" ] || {
    printf 'vm/up: no tunnel of kind %s; there is: auto, vhost, vhost-user, tcp\n' "$tunnel" >&2
    exit 2
}
. "$top/vm/lib/host/tunnel-$tunnel.sh"

guest_prepare() {
    mkdir -p "$images"
    "$top/vm/build-agent"
    [ "$tunnel" != vhost-user ] || "$top/vm/build-backend"
    fetch_kernel
    make_initramfs
    if [ "$docker" = yes ]; then
        fetch_docker
        make_docker_disk
    fi
}

guest_start() {
    local accel
    tunnel_start
    accel=$(acceleration)
    say "Booting the VM ($accel)"
    printf '%s' "$tunnel" >"$state/tunnel"
    printf '%s' "$agent_address" >"$state/connect"
    printf '%s' "$exec_address" >"$state/exec"
    new_token
    boot "$accel"
    await 120 "the guest" guest_is_up
    pid_of guest >/dev/null || fail "the VM ended: $(cat "$state/qemu.log")"
}

# What vm/exec must know.
new_token() {
    (umask 077 && head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$state/token")
}

# Or it never will be.
guest_is_up() {
    pid_of guest >/dev/null || return 0
    grep -q "guest: up" "$state/console.log"
}

boot() { # ACCELERATION
    qemu_command "$1"
    setsid "${qemu[@]}" </dev/null >"$state/qemu.log" 2>&1 &
    remember guest $!
}

# The command line of the VM, in `qemu`. What lies in $state for the guest's init goes along.
qemu_command() { # ACCELERATION [INITRAMFS]
    # Without the two by which Linux copies byte after byte (rep movsb): an emulated processor then copies eight at a time.
    local accel=(-accel tcg,thread=multi -cpu max,-erms,-fsrm) memory=${TWINPORT_VM_MEMORY:-512M} disk=() mode= given=() file
    [ "$1" = kvm ] && accel=(-accel kvm -cpu host)
    if [ "$docker" = yes ]; then
        memory=${TWINPORT_VM_MEMORY:-1536M} mode=twinport.disk
        disk=(-drive "file=$images/docker.ext4,if=virtio,format=raw,snapshot=on")
    fi
    for file in connect tunnel.key exec token; do
        [ ! -f "$state/$file" ] || given+=(-fw_cfg "name=opt/twinport/${file#tunnel.},file=$state/$file")
    done
    qemu=(qemu-system-x86_64 -M q35,memory-backend=mem "${accel[@]}" -smp 2 -m "$memory"
        -object "memory-backend-memfd,id=mem,size=$memory,share=on"
        -nodefaults -nographic -no-reboot
        -chardev "socket,id=console,path=$state/console.sock,server=on,wait=off,logfile=$state/console.log"
        -serial chardev:console -qmp "unix:$state/monitor,server=on,wait=off"
        -kernel "$images/kernel/boot/vmlinuz-$(kernel_version)" -initrd "${2:-$images/initramfs}"
        -append "console=ttyS0 quiet panic=-1$(clock "$1") $mode"
        "${given[@]}" "${tunnel_devices[@]}" "${disk[@]}")
}

# The guest's clock, for its kernel's command line. An emulated processor's counter is this machine's, where that is
# trusted as a clock; the guest would not trust it, and would ask the emulated HPET instead: QEMU takes that longer than
# an application's system call.
clock() { # ACCELERATION
    local source=/sys/devices/system/clocksource/clocksource0/current_clocksource
    if [ "$1" = tcg ] && grep -qsx tsc "$source"; then printf ' tsc=reliable clocksource=tsc'; fi
}

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
    local log pid tries=0 code=0
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
    grep -q "guest: up" "$log" || code=1
    rm -f "$log"
    return $code
}

guest_exec() {
    pid_of guest >/dev/null || fail "the guest is not running: vm/up"
    exec python3 "$top/vm/lib/host/guest-exec.py" "$state" "$@"
}

# The guest's init starts it.
guest_start_agent() { :; }

guest_console() {
    say "The guest's console; Ctrl-] leaves."
    exec python3 "$top/vm/lib/host/console.py" "$state/console.sock"
}

guest_report() { python3 "$top/vm/lib/host/report.py" "$state"; }

guest_stop() {
    end_process guest
    tunnel_stop
}
