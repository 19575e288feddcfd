#!/usr/bin/env bash
# Run a command in a fresh Debian that has Python, make and git and nothing else: does .ci/run install all it needs?
#
#   scripts/clean_machine.sh [--share DIR]... FOLDER [COMMAND]     # COMMAND: bash .ci/run if none is given
#
# Takes root and debootstrap. FOLDER must not exist; it is left there. In it the checkout, a clone of what is committed,
# lies at the same path as here, so that what lies beside it can be shared. Settings of apt and pip, certificates and
# name servers are this machine's. --share: a folder of this machine that is to be seen there, too (a mirror of packages,
# data beside the checkout).
set -euo pipefail

shared=()
while [ "${1:-}" = --share ]; do
    shared+=("$(realpath "$2")")
    shift 2
done
folder=$(realpath "$1")
shift
here=$(realpath "$(dirname "$0")/..")
[ ! -e "$folder" ] || { echo "$folder: exists already" >&2; exit 1; }

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null | sed -n 's/^URIs: //p; s/^deb \([^ ]*\) .*/\1/p' \
    | sed -n 1p || true)
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv,make,git "$release" "$folder" "$mirror" \
    > "$folder.log"

for settings in /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/pip.conf /etc/xdg/pip \
    /etc/ssl/certs /usr/share/keyrings /etc/resolv.conf /etc/hosts; do
    [ -e "$settings" ] || continue
    rm -rf "${folder:?}$settings"
    mkdir -p "$folder$(dirname "$settings")"
    cp -RL "$settings" "$folder$settings"
done
mkdir -p "$folder$(dirname "$here")"
git clone --quiet "$here" "$folder$here"

mounted=()
leave() {
    for target in "${mounted[@]}"; do umount -l "$target" || true; done
}
trap leave EXIT
seen() { # source, target within, options
    mkdir -p "$folder$2"
    mount "${@:3}" "$1" "$folder$2"
    mounted=("$folder$2" "${mounted[@]}")
}
mount --bind "$folder" "$folder" # programs in it may ask for mounts of their own: its root must be one
mounted=("$folder")
seen proc /proc -t proc
seen sysfs /sys -t sysfs
seen /dev /dev --rbind
mount --make-rslave "$folder/dev"
seen tmpfs /dev/shm -t tmpfs
for each in "${shared[@]}"; do
    seen "$each" "$each" --bind
done

if [ $# = 0 ]; then set -- bash .ci/run; fi
env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 CI=true \
    $(env | grep -E '^(PIP|SSL|CURL|REQUESTS)_' || true) \
    chroot "$folder" bash -c 'cd "$0" && exec "$@"' "$here" "$@"
