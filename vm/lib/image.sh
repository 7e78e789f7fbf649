# The guest's kernel and file system, made on the spot from Debian packages. Sourced.
#
#   $images/kernel/           Debian's cloud kernel, unpacked, never installed
#   $images/initramfs         busybox, modules, netcat, the static agent, guest-exec; boots by itself
#   $images/docker.ext4       the same and a Docker engine, for vm/up --docker

images=$top/.build-vm
image_packages=(busybox-static cpio curl kmod netcat-openbsd)
image_modules=(vmw_vsock_virtio_transport vsock_loopback inet_diag tcp_diag udp_diag raw_diag virtio_pci
    virtio_net virtio_blk ext4 veth bridge br_netfilter overlay nf_tables nft_compat nft_chain_nat
    xt_conntrack xt_MASQUERADE xt_addrtype ip_tables iptable_nat iptable_filter ip6_tables sctp
    sch_netem tun)

kernel_version() { ls "$images/kernel/lib/modules" 2>/dev/null | head -n 1; }

fetch_kernel() {
    [ -z "$(kernel_version)" ] || return 0
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "the VM is made for amd64 so far: vm/up --guest namespace"
    local package
    package=$(cloud_kernel)
    if [ -z "$package" ]; then
        as_root apt-get update >/dev/null 2>&1 </dev/null || true
        package=$(cloud_kernel)
    fi
    [ -n "$package" ] || fail "apt knows no linux-image-cloud-amd64: is this Debian?"
    say "Fetching the guest's kernel ($package; not installed here)"
    rm -rf "$images/kernel"
    mkdir -p "$images/download"
    (cd "$images/download" && apt-get download "$package" >/dev/null 2>&1 </dev/null) ||
        fail "apt-get download $package failed"
    dpkg -x "$images/download/${package}"_*.deb "$images/kernel.new"
    depmod -b "$images/kernel.new" "$(ls "$images/kernel.new/lib/modules")"
    mv "$images/kernel.new" "$images/kernel"
    rm -rf "$images/download"
}

cloud_kernel() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -nE 's/.*Depends: (linux-image-[0-9].*)/\1/p' | head -n 1
}

# Copies a program of this machine and the libraries it needs.
add_program() { # ROOT PROGRAM…
    local root=$1 program file
    shift
    for program in "$@"; do
        file=$(command -v "$program") || fail "$program is not installed"
        file=$(readlink -f "$file")
        install -D "$file" "$root/usr/bin/$program"
        ldd "$file" 2>/dev/null | sed -nE 's/.*(=> |^\t)(\/[^ ]+).*/\2/p' | while read -r library; do
            install -D "$(readlink -f "$library")" "$root$library"
        done
    done
}

# What every guest has.
make_root() { # ROOT
    local root=$1 version module applet
    version=$(kernel_version)
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,tmp,run,root,etc,disk,var/log}
    install "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || [ "$applet" = nc ] || ln -sf busybox "$root/bin/$applet"
    done
    add_program "$root" nc.openbsd
    ln -sf nc.openbsd "$root/usr/bin/nc"
    for module in "${image_modules[@]}"; do
        modprobe -d "$images/kernel" -S "$version" --show-depends "$module" 2>/dev/null |
            sed -nE 's/^insmod ([^ ]+).*/\1/p'
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$root/${file#"$images/kernel"}"
    done
    cp "$images/kernel/lib/modules/$version"/modules.{order,builtin} "$root/lib/modules/$version/"
    depmod -b "$root" "$version"
    printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\ndocker:x:999:\n' >"$root/etc/group"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    install "$top/vm/lib/guest-init" "$root/init"
    clang -O2 -static -o "$root/bin/guest-exec" "$top/vm/lib/guest-exec.c" ||
        fail "guest-exec does not build"
    install "$top/.build-static/twinport-agent" "$root/bin/twinport-agent"
}

# Whether what an image is made of changed since it was made.
is_stale() { # IMAGE
    local part
    for part in "$top/.build-static/twinport-agent" "$top"/vm/lib/{guest-init,guest-exec.c,image.sh} \
        "$images/kernel"; do
        [ "$part" -nt "$1" ] && return 0
    done
    [ ! -f "$1" ]
}

make_initramfs() {
    is_stale "$images/initramfs" || return 0
    say "Making the guest's file system"
    local root
    root=$(mktemp -d "$images/root.XXXXXX")
    make_root "$root"
    (cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) >"$images/initramfs.new"
    mv "$images/initramfs.new" "$images/initramfs"
    rm -rf "$root"
}
