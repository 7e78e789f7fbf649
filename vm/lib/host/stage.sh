# Lays out what belongs to a program, and makes packages of it. Sourced by vm/package, which says $scratch, $out, $version and
# $architecture.
#
# A package has the prefix /usr. A tarball has none: it is unpacked into a prefix, /usr/local usually, whose service files
# systemd finds, too.

stage() { # PROGRAM ROOT PREFIX
    local program=$1 root=$2 prefix=$3 program_file="$scratch/bin/$1"
    local share="$root$prefix/share"
    install -D -m 755 "$program_file" "$root$prefix/bin/$program"
    stage_completions "$program" "$program_file" "$share" "$prefix"
    stage_documents "$program" "$share/doc/$program"
    "stage_$program" "$program_file" "$root" "$prefix"
}

stage_twinport() { # FILE ROOT PREFIX
    stage_service "twinport@.service" "$2" "$3"
    stage_pages "$2$3/share" twinport.1 twinport-settings.5
    local examples="$2$3/share/doc/twinport/examples"
    install -D -m 644 -t "$examples" "$top"/vm/install/twinport-notify{,.service}
    [ -z "$3" ] || sed -i 's|/usr/local/share|/usr/share|' "$examples/twinport-notify.service"
    # Earlier versions have no schema of the settings.
    if "$1" schema settings >"$scratch/schema" 2>/dev/null; then
        install -D -m 644 "$scratch/schema" "$2$3/share/twinport/settings.schema.json"
    fi
}

stage_twinport-agent() { # FILE ROOT PREFIX
    local examples="$2$3/share/doc/twinport-agent/examples"
    stage_service twinport-agent.service "$2" "$3"
    stage_pages "$2$3/share" twinport-agent.8
    install -D -m 644 "$top/vm/install/twinport-agent.openrc" "$examples/twinport-agent.openrc"
    [ -z "$3" ] || sed -i 's|/usr/local/bin|/usr/bin|' "$examples/twinport-agent.openrc"
    # In the package it is configuration; a tarball has nothing outside of its prefix.
    if [ -n "$3" ]; then
        install -D -m 644 "$top/vm/install/agent.env" "$2/etc/twinport/agent.env"
    else
        install -D -m 644 "$top/vm/install/agent.env" "$examples/agent.env"
    fi
}

stage_service() { # NAME ROOT PREFIX
    local file="$2$3/lib/systemd/system/$1"
    install -D -m 644 "$top/vm/install/$1" "$file"
    [ -z "$3" ] || sed -i 's|^\(ExecStart=\)/usr/local/bin|\1/usr/bin|' "$file"
}

stage_pages() { # SHARE PAGE…
    local share=$1 page
    shift
    for page in "$@"; do
        mkdir -p "$share/man/man${page##*.}"
        gzip -9n <"$top/docs/man/$page" >"$share/man/man${page##*.}/$page.gz"
    done
}

stage_completions() { # PROGRAM FILE SHARE PREFIX
    local zsh=zsh/vendor-completions shell path
    [ -n "$4" ] || zsh=zsh/site-functions
    for shell in bash:bash-completion/completions/$1 zsh:$zsh/_$1 fish:fish/vendor_completions.d/$1.fish; do
        path="$3/${shell#*:}"
        mkdir -p "$(dirname "$path")"
        # It is read by a shell, not run: bash's has a first line for the kernel.
        "$2" --generate-completion-script "${shell%%:*}" | sed '1{/^#!/d}' >"$path"
    done
}

stage_documents() { # PROGRAM FOLDER
    mkdir -p "$2"
    if [ "$1" = twinport ]; then
        install -m 644 "$top/README.md" "$2/README.md"
        install -D -m 644 -t "$2/docs" "$top"/docs/*.md
        install -D -m 644 -t "$2/docs/pictures" "$top"/docs/pictures/*.{svg,png}
    else
        install -D -m 644 -t "$2/docs" "$top"/docs/{install,transports,security,changelog}.md
    fi
    install -m 644 "$top/vm/install/debian/copyright" "$2/copyright"
    licenses >"$2/licenses.txt"
    gzip -9n "$2/licenses.txt"
    {
        printf '%s (%s) unstable; urgency=medium\n\n' "$1" "$version"
        printf '  * docs/changelog.md says what changed.\n\n'
        printf ' -- %s  %s\n' "$maintainer" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } | gzip -9n >"$2/changelog.gz"
}

# The notices of what is linked in, and the licenses that Debian has no copy of.
licenses() {
    local folder file
    for folder in "$static_build/checkouts" "$top/.build/checkouts"; do
        [ -d "$folder" ] || continue
        for file in "$folder"/*/{LICENSE,NOTICE}*; do
            [ -f "$file" ] || continue
            case $file in *docc* | *hdrhistogram*) continue ;; esac
            case $file in *LICENSE*) ! grep -q 'Apache License' "$file" || continue ;; esac
            printf '== %s\n\n%s\n\n' "${file#"$folder/"}" "$(cat "$file")"
        done
        break
    done
    printf '== libuv\n\n%s\n' "$(cat /usr/share/doc/libuv1-dev/copyright)"
}

# Who made the package.
maintainer="${DEBFULLNAME:-Twinport maintainers} <${DEBEMAIL:-maintainers@twinport.invalid}>"

# What the dynamic linker needs, as Debian's own packages say it; nothing for a static file.
depends() { # PROGRAM
    readelf -d "$scratch/bin/$1" | grep -q NEEDED || return 0
    mkdir -p "$scratch/shlibs/debian"
    printf 'Source: twinport\n\nPackage: twinport\nArchitecture: any\n' >"$scratch/shlibs/debian/control"
    (cd "$scratch/shlibs" && dpkg-shlibdeps -O "$scratch/bin/$1") | sed 's/^shlibs:Depends=//'
}

make_package() { # PROGRAM ROOT
    local root=$2 templates="$top/vm/install/debian" name=$1 file size needed
    needed=$(depends "$name")
    mkdir -p "$root/DEBIAN"
    install -D -m 644 "$templates/$name/lintian-overrides" "$root/usr/share/lintian/overrides/$name"
    (cd "$root" && find . -type f ! -path './DEBIAN/*' ! -path './etc/*' -printf '%P\n' | sort | xargs -d '\n' md5sum) >"$root/DEBIAN/md5sums"
    size=$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)
    sed -e "s|@VERSION@|$version|; s|@ARCHITECTURE@|$architecture|; s|@SIZE@|$size|; s|@MAINTAINER@|$maintainer|" \
        -e "s~@DEPENDS@~$needed~" -e '/^Depends: $/d' "$templates/$name/control" >"$root/DEBIAN/control"
    for file in "$templates/$name"/{postinst,prerm,postrm}; do install -m 755 -t "$root/DEBIAN" "$file"; done
    for file in "$templates/$name"/conffiles; do [ ! -f "$file" ] || install -m 644 -t "$root/DEBIAN" "$file"; done
    set_times "$root"
    file="$out/${name}_${version}_$architecture.deb"
    # The strongest takes five times as long, for a seventh less.
    dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$file" >/dev/null
    made+=("$file")
}

make_tarball() { # PROGRAM ROOT
    local file="$out/$1-$version-$architecture.tar.gz"
    set_times "$2"
    tar -C "$2" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu \
        --transform "s|^\./|$1-$version/|;s|^\.$|$1-$version|" -cf - . | gzip -n >"$file"
    made+=("$file")
}

set_times() { # ROOT
    find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
}
