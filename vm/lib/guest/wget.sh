#!/bin/sh
# wget, for guests and the image twinport/netshoot. Debian's busybox takes the option -T and was built without what it needs for
# it: it ends with a segmentation fault. timeout(1) stands for it here.
limit=
left=$#
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
        -T)
            limit=$1
            [ "$left" -eq 0 ] || { shift; left=$((left - 1)); }
            ;;
        -T*) limit=${word#-T} ;;
        *) set -- "$@" "$word" ;;
    esac
done
if [ -n "$limit" ]; then exec busybox timeout "$limit" busybox wget "$@"; fi
exec busybox wget "$@"
