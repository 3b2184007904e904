#!/bin/sh
# Installs the programs that the peer tests (`cargo test -- --ignored`) talk to, from Debian's
# packages. What is there already is left alone.
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

[ -n "$missing" ] || exit 0

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get -qq update
# shellcheck disable=SC2086  # one word for each package
$as_root apt-get -qq install --yes --no-install-recommends $missing >/dev/null
