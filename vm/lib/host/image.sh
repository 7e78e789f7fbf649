# The guest's kernel and file system, made on the spot from Debian packages. Sourced.
#
#   $images/kernel/       Debian's cloud kernel, unpacked, never installed
#   $images/docker/       Debian's Docker engine and what it needs, the same
#   $images/podman/       Debian's Podman and CNI's plugins, for tests; the same
#   $images/initramfs     busybox, modules, netcat, the static agent, guest-exec; boots by itself
#   $images/docker.ext4   the same and the engine, for vm/up --docker
#   $images/promtool/     for a test of the metrics

images=$top/.build-vm
image_packages=(busybox-static cpio dash kmod netcat-openbsd)
image_modules=(vmw_vsock_virtio_transport vsock_loopback vhost_vsock inet_diag tcp_diag udp_diag raw_diag
    qemu_fw_cfg virtio_pci virtio_net virtio_blk ext4 veth bridge br_netfilter overlay nf_tables nft_compat
    nft_chain_nat xt_conntrack xt_MASQUERADE xt_addrtype xt_nat xt_mark xt_tcpudp xt_comment xt_multiport ip_tables iptable_nat iptable_filter
    ip6_tables sctp sch_netem tun vxlan wireguard ip_vs ip_vs_rr xt_ipvs dummy)
# Of what docker.io depends on, what only its installation needs.
not_in_image='^(perl|lib.*-perl|libperl|usrmerge|dpkg|tar|debconf|adduser|passwd|init-system|sysvinit|libsemanage|libsepol|libpam|libgdbm|libdb5|libaudit|lsb-base|dmsetup|gcc-|gnupg|gpg|pinentry|dirmngr|libldap|libsasl)'

kernel_version() { ls "$images/kernel/lib/modules" 2>/dev/null | head -n 1; }

# Downloads packages and unpacks them into a folder; installs nothing.
unpack_packages() { # FOLDER PACKAGE…
    local folder=$1 file
    shift
    rm -rf "$images/download"
    mkdir -p "$images/download" "$folder"
    (cd "$images/download" && apt-get download "$@" >/dev/null 2>&1 </dev/null) ||
        fail "apt-get download $* failed"
    for file in "$images/download"/*.deb; do dpkg -x "$file" "$folder"; done
    rm -rf "$images/download"
}

# $images/promtool/promtool, with which a test checks metrics. Installed, its package would start a server, and bring much
# that promtool does not need.
fetch_promtool() {
    local folder="$images/promtool"
    [ ! -x "$folder/promtool" ] || return 0
    say "Fetching promtool (of Debian's prometheus; not installed here)"
    rm -rf "$folder" "$folder.new"
    unpack_packages "$folder.new" prometheus
    mkdir -p "$folder"
    mv "$folder.new/usr/bin/promtool" "$folder/promtool"
    rm -rf "$folder.new"
}

# Prints what a command prints; once more with fresh lists when that is nothing.
with_fresh_lists() { # COMMAND…
    local answer
    answer=$("$@")
    if [ -z "$answer" ]; then
        as_root apt-get update >/dev/null 2>&1 </dev/null || true
        answer=$("$@")
    fi
    printf '%s\n' "$answer"
}

fetch_kernel() {
    [ -z "$(kernel_version)" ] || return 0
    [ "$(dpkg --print-architecture)" = amd64 ] || fail "the VM is made for amd64 so far: vm/up --guest namespace"
    local package
    package=$(with_fresh_lists cloud_kernel)
    [ -n "$package" ] || fail "apt knows no linux-image-cloud-amd64: is this Debian?"
    say "Fetching the guest's kernel ($package; not installed here)"
    rm -rf "$images/kernel" "$images/kernel.new"
    unpack_packages "$images/kernel.new" "$package"
    depmod -b "$images/kernel.new" "$(ls "$images/kernel.new/lib/modules")"
    mv "$images/kernel.new" "$images/kernel"
}

cloud_kernel() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null |
        sed -nE 's/.*Depends: (linux-image-[0-9].*)/\1/p' | head -n 1
}

fetch_docker() { fetch_engine docker docker.io "Docker for the guest" docker_packages; }

# Podman, with both of its networks' programs.
fetch_podman() { fetch_engine podman podman Podman needed_packages podman netavark runc containernetworking-plugins; }

# Unpacks the packages that a command names into a folder of the images.
fetch_engine() { # FOLDER PACKAGE TITLE COMMAND…
    local folder=$images/$1 package=$2 title=$3 packages
    shift 3
    [ ! -d "$folder" ] || return 0
    mapfile -t packages < <(with_fresh_lists "$@")
    [ -n "${packages[0]}" ] || fail "apt knows no $package: is this Debian?"
    say "Fetching $title (${#packages[@]} packages; not installed here)"
    rm -rf "$folder.new"
    unpack_packages "$folder.new" "${packages[@]}"
    # What installing them would have made.
    for name in iptables ip6tables; do
        ln -sf xtables-nft-multi "$folder.new/usr/sbin/$name"
    done
    mv "$folder.new" "$folder"
}

docker_packages() {
    local client=
    apt-cache show docker-cli >/dev/null 2>&1 && client=docker-cli
    # shellcheck disable=SC2086
    needed_packages docker.io $client
}

# What apt would install with these packages where nothing is.
needed_packages() { # PACKAGE…
    apt-get -o Dir::State::status=/dev/null -o APT::Install-Recommends=false --print-uris -qq install \
        "$@" 2>/dev/null </dev/null |
        sed -nE "s/^'[^']*' ([^_]+)_.*/\1/p" | grep -vE "$not_in_image"
}

# Copies a program of this machine and the libraries it needs.
add_program() { # ROOT PROGRAM…
    local root=$1 program file
    shift
    for program in "$@"; do
        file=$(command -v "$program") || fail "$program is not installed"
        file=$(readlink -f "$file")
        install -D "$file" "$root/usr/bin/$program"
        # It fails for a program that needs no library.
        { ldd "$file" 2>/dev/null || :; } | sed -nE 's/.*(=> |^\t)(\/[^ ]+).*/\2/p' | while read -r library; do
            install -D "$(readlink -f "$library")" "$root$library"
        done
    done
}

# Copies busybox without its nc. Debian's busybox prefers its own applets to programs on the PATH, and not only in its shell: timeout,
# env, xargs, time, nohup, setsid and find would all run its nc. So the copy does not know that name: in the table of applets, which
# is sorted, "nc" becomes "nd". Nothing else moves.
install_busybox() { # FILE
    install "$(command -v busybox)" "$1"
    python3 - "$1" <<'PY' || fail "busybox's table of applets is not understood"
import pathlib, sys
file = pathlib.Path(sys.argv[1])
old = file.read_bytes()
# Between its neighbours, as the file may have these bytes elsewhere.
if old.count(b"\0nc\0netstat\0") != 1:
    sys.exit(1)
file.write_bytes(old.replace(b"\0nc\0netstat\0", b"\0nd\0netstat\0"))
PY
    ! "$1" nc --help >/dev/null 2>&1 || fail "busybox still has its own nc"
}

# busybox and its applets, OpenBSD's netcat as nc, and dash.
add_tools() { # ROOT
    local applet
    chmod 755 "$1"
    mkdir -p "$1"/{bin,sbin,usr/bin,usr/sbin,tmp,root,etc}
    install_busybox "$1/bin/busybox"
    for applet in $("$1/bin/busybox" --list); do
        case $applet in busybox | nc | nd | wget) continue ;; esac
        [ -e "$1/bin/$applet" ] || ln -sf busybox "$1/bin/$applet"
    done
    install "$top/vm/lib/guest/wget.sh" "$1/bin/wget"
    add_program "$1" nc.openbsd dash
    ln -sf ../usr/bin/dash "$1/bin/sh"
    ln -sf nc.openbsd "$1/usr/bin/nc"
    printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\ndocker:x:999:\n' >"$1/etc/group"
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$1/etc/hosts"
    printf 'hosts: files\n' >"$1/etc/nsswitch.conf"
}

# What every guest has.
make_root() { # ROOT
    local root=$1 version module
    version=$(kernel_version)
    mkdir -p "$root"/{dev,proc,sys,run,disk,var/log,lib/modules}
    add_tools "$root"
    for module in "${image_modules[@]}"; do
        modprobe -d "$images/kernel" -S "$version" --show-depends "$module" 2>/dev/null |
            sed -nE 's/^insmod ([^ ]+).*/\1/p'
    done | sort -u | while read -r file; do
        install -D -m 644 "$file" "$root/${file#"$images/kernel"}"
    done
    cp "$images/kernel/lib/modules/$version"/modules.{order,builtin,builtin.modinfo} "$root/lib/modules/$version/"
    depmod -b "$root" "$version"
    # Where the kernel looks for it.
    ln -sf ../bin/busybox "$root/sbin/modprobe"
    install "$top/vm/lib/guest/guest-init" "$root/init"
    clang -O2 -static -o "$root/bin/guest-exec" "$top/vm/lib/guest/guest-exec.c" || fail "guest-exec does not build"
    install "$top/.build-static/twinport-agent" "$root/bin/twinport-agent"
}

# Whether what an image is made of changed since it was made.
is_stale() { # IMAGE
    local part
    for part in "$top/.build-static/twinport-agent" "$top"/vm/lib/{guest/guest-init,guest/guest-exec.c,guest/wget.sh,host/image.sh} \
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

# The image twinport/netshoot, as docker import takes it.
make_netshoot() { # FILE
    local root
    root=$(mktemp -d "$images/root.XXXXXX")
    add_tools "$root"
    tar -C "$root" --owner=0 --group=0 -cf "$1" .
    rm -rf "$root"
}

make_docker_disk() {
    is_stale "$images/docker.ext4" || return 0
    say "Making the guest's disk, with Docker"
    local root
    root=$(mktemp -d "$images/root.XXXXXX")
    cp -a "$images/docker/." "$root"
    make_root "$root"
    mkdir -p "$root/usr/share/twinport" "$root/var/lib/docker"
    ln -sfn /run "$root/var/run"
    make_netshoot "$root/usr/share/twinport/netshoot.tar"
    rm -f "$images/docker.ext4.new"
    truncate -s 3G "$images/docker.ext4.new"
    mke2fs -q -t ext4 -O ^has_journal -E root_owner=0:0 -d "$root" "$images/docker.ext4.new"
    mv "$images/docker.ext4.new" "$images/docker.ext4"
    rm -rf "$root"
}
