# Builds programs as single static files. Sourced after common.sh.

static_build=$top/.build-static

# One build for both programs: nearly all modules are in both.
build_static() { # PRODUCT
    local log
    command -v swift >/dev/null || fail "a Swift 6.3 toolchain must be on the PATH (swift.org/install)"
    install_packages libuv1-dev pkg-config binutils

    forget_copied_builds
    # Debian calls the static library libuv_a.a; the linker looks for libuv.a.
    mkdir -p "$static_build/lib"
    ln -sf "$(pkg-config --variable=libdir libuv)/libuv_a.a" "$static_build/lib/libuv.a"
    [ -f "$static_build/lib/libuv.a" ] || fail "libuv1-dev has no static library here"

    log=$(mktemp)
    if ! swift build --package-path "$top" --scratch-path "$static_build" -c release --product "$1" \
        --static-swift-stdlib -Xswiftc -static-executable -Xswiftc -use-ld=lld \
        -Xlinker "-L$static_build/lib" -Xlinker --icf=all \
        -Xlinker --no-eh-frame-hdr -Xlinker "-T$top/vm/lib/guest/static-agent.ld" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        fail "the build failed"
    fi
    rm -f "$log"
}
