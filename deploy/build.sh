#!/bin/sh
# The steps of deploy/Dockerfile, one by one, so that they can be tried without an engine; tests/deploy.rs does.
#
#   deploy/build.sh tools             what the compiler needs beside Rust, on Debian as root
#   deploy/build.sh binary            the gateway, optimised: target/release/tollgate
#   deploy/build.sh root BINARY DIR   all that the image holds: the binary, the libraries that it names, and little else
#   deploy/build.sh try DIR           whether it runs with nothing but that
set -eu
cd "$(dirname "$0")/.."

# The user that distributions of Linux leave free for this, and that "distroless" images have, too.
ID=65532

tools() {
    apt-get update -q
    # CMake builds Pingora's zlib-ng; the authorities that upstreams' certificates are checked against go into the image.
    apt-get install -q -y --no-install-recommends ca-certificates cmake
}

binary() {
    cargo build --release --locked
}

root() {
    binary=$1 dir=$2
    mkdir -p "$dir/usr/local/bin" "$dir/etc/ssl/certs" "$dir/etc/tollgate" "$dir/tmp" "$dir/var/lib/tollgate"
    chmod 1777 "$dir/tmp"
    chmod 0700 "$dir/var/lib/tollgate"
    cp "$binary" "$dir/usr/local/bin/tollgate"
    chmod 0755 "$dir/usr/local/bin/tollgate"
    # Each library where the loader looks for it, the loader itself among them.
    ldd "$binary" | sed -n 's/^.*=> \(\/[^ ]*\) .*$/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*$/\1/p' | while read -r library; do
        mkdir -p "$dir$(dirname "$library")"
        cp -L "$library" "$dir$library"
    done
    cp -L /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
    printf 'tollgate:x:%s:%s::/var/lib/tollgate:/sbin/nologin\n' $ID $ID >"$dir/etc/passwd"
    printf 'tollgate:x:%s:\n' $ID >"$dir/etc/group"
    printf 'hosts: files dns\n' >"$dir/etc/nsswitch.conf"
    # Only root can give things away; who tries this without an engine keeps them.
    if [ "$(id -u)" -eq 0 ]; then chown $ID:$ID "$dir/var/lib/tollgate"; fi
}

try() {
    dir=$1
    if [ "$(id -u)" -eq 0 ]; then
        chroot --userspec=$ID:$ID "$dir" /usr/local/bin/tollgate version
    else
        unshare --user --map-root-user chroot "$dir" /usr/local/bin/tollgate version
    fi
}

case "${1-} $#" in
    "tools 1") tools ;;
    "binary 1") binary ;;
    "root 3") root "$2" "$3" ;;
    "try 2") try "$2" ;;
    *)
        echo "usage: deploy/build.sh tools | binary | root BINARY DIR | try DIR" >&2
        exit 64
        ;;
esac
