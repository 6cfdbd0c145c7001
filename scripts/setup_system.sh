#!/bin/sh
# What pip cannot install: libngspice, and Python's venv module where Debian left it out.
# Uses a libngspice with the KLU solver if there is one; else installs the newest it can get.
set -eu

PYTHON=${PYTHON:-python3}
BACKPORTS_LIST=/etc/apt/sources.list.d/bookworm-backports-xbarverify.list

say() { printf '%s\n' "$*"; }

find_library() {
    if [ -n "${NGSPICE_LIBRARY_PATH:-}" ] && [ -f "$NGSPICE_LIBRARY_PATH" ]; then
        say "$NGSPICE_LIBRARY_PATH"
        return
    fi
    for folder in /usr/lib/*-linux-gnu /usr/lib64 /usr/lib /usr/local/lib /opt/homebrew/lib \
        "${CONDA_PREFIX:-/nonexistent}/lib"; do
        for file in "$folder"/libngspice.so.0 "$folder"/libngspice.so "$folder"/libngspice.dylib; do
            if [ -f "$file" ]; then
                say "$file"
                return
            fi
        done
    done
}

has_klu() { [ -n "$1" ] && grep -aq "Using KLU" "$1"; }

if [ "$(id -u)" = 0 ]; then
    as_root=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as_root="sudo"
else
    as_root="none"
fi

stop_with_advice() {
    cat >&2 <<'ADVICE'
libngspice is needed and cannot be installed from here. Install it with one of

  Debian 12:      echo 'deb http://deb.debian.org/debian bookworm-backports main' | sudo tee /etc/apt/sources.list.d/bookworm-backports.list
                  sudo apt-get update && sudo apt-get install -t bookworm-backports libngspice0 ngspice
  Debian, Ubuntu: sudo apt-get install libngspice0 ngspice
  Fedora:         sudo dnf install libngspice ngspice
  macOS:          brew install libngspice ngspice
  conda:          conda install -c conda-forge ngspice ngspice-lib

and run the same make command again.
ADVICE
    exit 1
}

apt() { DEBIAN_FRONTEND=noninteractive $as_root apt-get -q -y "$@"; }

install_venv() {
    if ! "$PYTHON" -c "import ensurepip, venv" 2>/dev/null; then
        if ! command -v apt-get >/dev/null 2>&1 || [ "$as_root" = none ]; then
            say "Python's venv module is missing: sudo apt-get install python3-venv" >&2
            exit 1
        fi
        apt update
        apt install python3-venv
    fi
}

install_ngspice() {
    command -v apt-get >/dev/null 2>&1 && [ "$as_root" != none ] || stop_with_advice
    codename=$(. /etc/os-release 2>/dev/null && say "${VERSION_CODENAME:-}")
    apt update
    if [ "$codename" = bookworm ]; then
        if ! apt-cache policy | grep -q "n=bookworm-backports"; then
            say "deb http://deb.debian.org/debian bookworm-backports main" |
                $as_root tee "$BACKPORTS_LIST" >/dev/null
            apt update
        fi
        apt install -t bookworm-backports libngspice0 ngspice && return
        say "bookworm-backports gave no ngspice; taking the distribution's own." >&2
    fi
    apt install libngspice0 ngspice || stop_with_advice
}

if ! "$PYTHON" -c "import sys; sys.exit(sys.version_info < (3, 11))"; then
    say "Python 3.11 or newer is needed, $PYTHON is $("$PYTHON" --version); set PYTHON=..." >&2
    exit 1
fi
install_venv
library=$(find_library)
if has_klu "$library"; then
    say "ngspice with KLU: $library"
    exit 0
fi
if [ -n "$library" ] && { [ "$as_root" = none ] || ! command -v apt-get >/dev/null 2>&1; }; then
    say "ngspice without KLU: $library. It works, but a 64x64 tile takes seconds instead of 0.1 s."
    exit 0
fi
install_ngspice
library=$(find_library)
if has_klu "$library"; then
    say "installed ngspice with KLU: $library"
else
    say "installed ngspice without KLU: $library. It works, but a 64x64 tile takes seconds."
fi
