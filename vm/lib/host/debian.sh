# A fresh Debian, of the release that this machine has, for what is installed with packages. Sourced after common.sh.

debian_tree=$top/.build-vm/debian.tar

# Fetched once. It takes a minute.
make_debian_tree() {
    [ ! -f "$debian_tree" ] || return 0
    install_packages debootstrap
    local root mirror suite log
    # Not its updates, which have a word behind the name.
    read -r mirror suite < <(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' | grep -v ' .*-' | head -n 1) || true
    [ -n "${suite:-}" ] || fail "apt knows no Debian: is this Debian, and was apt-get update called?"
    say "Fetching a fresh Debian ($suite)"
    mkdir -p "$(dirname "$debian_tree")"
    root=$(mktemp -d "$(dirname "$debian_tree")/debian.XXXXXX")
    log=$(mktemp)
    debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,kmod,iproute2,netcat-openbsd \
        "$suite" "$root" "$mirror" >"$log" 2>&1 </dev/null || {
        tail -n 5 "$log" >&2
        rm -rf "$root" "$log"
        fail "debootstrap failed"
    }
    # Not the folder's own mode: users other than root are to live there.
    chmod 755 "$root"
    rm -rf "$log" "$root"/var/cache/apt/archives/*.deb
    tar -C "$root" --numeric-owner -cf "$debian_tree.new" .
    mv "$debian_tree.new" "$debian_tree"
    rm -rf "$root"
}
