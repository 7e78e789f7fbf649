#!/bin/sh
# Puts programs and the libraries they need into a folder, to be run on a machine that has none of them:
# bundle.sh FOLDER PROGRAM… makes FOLDER/NAME for each.
set -e
folder=$1
shift
mkdir -p "$folder/lib"
for program in "$@"; do
    name=$(basename "$program")
    cp "$program" "$folder/lib/$name.bin"
    ldd "$program" | grep -o '/[^ )]*' | while read -r library; do
        cp -Lu "$library" "$folder/lib/"
    done
    printf '#!/bin/sh\nexec /opt/lib/ld-linux-x86-64.so.2 --library-path /opt/lib /opt/lib/%s.bin "$@"\n' "$name" \
        >"$folder/$name"
    chmod 755 "$folder/$name"
done
