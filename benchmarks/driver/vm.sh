#!/usr/bin/env bash
# What vm/ has for a VM that is no vm/up's; its state is in $TWINPORT_VM_STATE:
#   vm.sh static PRODUCT         builds a program as one static file, and prints where it is
#   vm.sh files ROOT PROGRAM…    copies programs of this machine, with their libraries, into a folder
#   vm.sh start INITRAMFS        starts the vsock device; prints QEMU's command line, each word ended by NUL
#   vm.sh stop                   ends the vsock device
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../vm/lib/host/common.sh"
docker=no tunnel=vhost-user
. "$top/vm/lib/host/guest-qemu.sh"

case $1 in
    static)
        . "$top/vm/lib/host/static.sh"
        build_static "$2" >&2
        printf '%s\n' "$static_build/release/$2"
        ;;
    files) shift; add_program "$@" ;;
    start)
        new_token
        printf '%s' "$exec_address" >"$state/exec"
        tunnel_prepare >&2
        tunnel_start >&2
        qemu_command "$(acceleration)" "$2"
        printf '%s\0' "${qemu[@]}"
        ;;
    stop) tunnel_stop ;;
esac
