# Shared by the programs in vm/. Sourced; needs bash.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
build="$top/.build/release"

if [ -n "${TWINPORT_VM_STATE:-}" ]; then
    state=$TWINPORT_VM_STATE
elif [ "$(id -u)" = 0 ]; then
    state=/run/twinport-vm
else
    state=${XDG_RUNTIME_DIR:-/tmp}/twinport-vm-$(id -u)
fi

say() { printf '%s\n' "$*"; }
fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Below /tmp anybody could have made it, with the numbers of other processes in it.
if [ -e "$state" ] || [ -L "$state" ]; then
    [ -d "$state" ] && [ -O "$state" ] && [ ! -L "$state" ] ||
        fail "$state is not a folder of ours: remove it, or choose another one with TWINPORT_VM_STATE"
fi

# A guest with a name has a folder of its own below that of the helper, which all of these share. Without a name the
# two are one.
shared=$state
name='' number=2

use_guest() { # NAME
    if ! [[ $1 =~ ^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$ ]] || [ "$1" = localhost ]; then
        printf '%s: --name %s: expected a-z, 0-9 and hyphens, as web-vm\n' "$(basename "$0")" "$1" >&2
        exit 2
    fi
    name=$1 state=$shared/guests/$1
    if [ -f "$state/number" ]; then
        number=$(cat "$state/number")
    else
        while number_is_taken; do number=$((number + 1)); done
    fi
}

number_is_taken() {
    local file
    for file in "$shared"/guests/*/number; do
        # The file ends without a newline: several of them in one stream would be one number.
        if [ -f "$file" ] && [ "$(cat "$file")" = "$number" ]; then return 0; fi
    done
    return 1
}

# Runs a command while no other program in vm/ changes what guests share.
locked() {
    mkdir -p -m 700 "$shared"
    (
        flock 9
        "$@"
    ) 9>"$shared/lock"
}

# Installs the Debian packages among the arguments that are missing, and says so.
install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    command -v apt-get >/dev/null || fail "these packages are missing, and there is no apt-get: ${missing[*]}"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        fail "as root: apt-get install ${missing[*]}"
    fi
    say "Installing ${missing[*]}"
    if ! as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 </dev/null; then
        as_root apt-get update >/dev/null 2>&1 </dev/null || true
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null </dev/null ||
            fail "apt-get install ${missing[*]} failed"
    fi
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Swift's build folders hold absolute paths. One that came along with a copy of the checkout ends a build with
# "missing required module 'SwiftShims'".
forget_copied_builds() {
    local folder real
    real=$(cd "$top" && pwd -P)
    for folder in "$top"/.build*; do
        grep -qsF -e "$top/.build" -e "$real/.build" "$folder"/*.yaml && continue
        ls "$folder"/*.yaml >/dev/null 2>&1 || continue
        say "$folder was copied from another place, and cannot be used here: building anew"
        rm -rf "$folder"
    done
}

# A TCP port of loopback that nobody uses now.
free_port() {
    python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until a command succeeds.
await() { # SECONDS WHAT COMMAND…
    local tries=$(($1 * 20)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        if [ $tries -le 0 ]; then
            tail -n 5 "$state"/*.log >&2
            fail "waited in vain for $what"
        fi
        sleep 0.05
    done
}

# A process is known by its number and its start time, so that a number that came back as somebody else's
# is never ended.
remember() { # NAME PID
    printf '%s %s\n' "$2" "$(start_time "$2")" >"$state/$1.pid"
}

start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

pid_of() { # NAME: prints the pid if it is still the same process, and runs
    local pid since
    read -r pid since 2>/dev/null <"$state/$1.pid" || return 1
    # One that nobody has waited for yet is in the tables, and over.
    ! grep -qs '^State:\s*Z' "/proc/$pid/status" || return 1
    [ -n "$since" ] && [ "$(start_time "$pid")" = "$since" ] && printf '%s' "$pid"
}

end_process() { # NAME
    local pid tries=0
    pid=$(pid_of "$1") || return 0
    kill "$pid" 2>/dev/null || return 0
    while pid_of "$1" >/dev/null; do
        tries=$((tries + 1))
        [ $tries = 40 ] && kill -9 "$pid" 2>/dev/null
        [ $tries -gt 60 ] && fail "process $pid does not end"
        sleep 0.05
    done
}
