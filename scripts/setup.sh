# Sourced by ./try and ./check. setup EXTRAS: a virtual environment in .venv that holds this checkout and what it needs.
#
# MUYBRIDGE_TORCH (a pip requirement, such as "torch==2.13.0") chooses another PyTorch than the one below.

torch="${MUYBRIDGE_TORCH:-torch==2.13.0}"

setup() {
    python=$(find_python)
    # Nothing to do where an earlier setup had the same requirements, or those and the tests' besides.
    wanted="$PWD $torch $(cksum < pyproject.toml)"
    for stamp in ".venv/setup$1" ".venv/setup[dev]"; do
        if [ -x .venv/bin/muybridge ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
            return
        fi
    done
    if [ -d .venv ] && [ "$python" != .venv/bin/python ]; then
        echo "The Python in .venv is older than 3.11, or gone: remove the folder .venv and try again." >&2
        exit 1
    fi
    echo "Setting up .venv (once; a few minutes) ..." >&2
    # pip comes last into a new environment: where it is missing, an earlier setup was interrupted.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv .venv
    install_torch
    pip --editable ".$1"
    echo "$wanted" > ".venv/setup$1"
}

# The first Python that will do: that of .venv where there is one, else a system's.
find_python() {
    for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "Muybridge needs Python 3.11 or newer with its venv module, and found $(found_python)." >&2
    echo "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python), try again." >&2
    exit 1
}

found_python() {
    if version=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
        python3 -c 'import venv, ensurepip' 2>/dev/null || version="$version without venv"
        echo "Python $version"
    else
        echo "no python3"
    fi
}

# PyTorch first, by itself: on Linux the build without CUDA is a tenth of the size of the one that pip takes by default.
# It comes from PyTorch's own index where that answers, else from wherever pip looks; there it is as good, only larger.
install_torch() {
    if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
        pip "$torch" --index-url https://download.pytorch.org/whl/cpu --retries 0 --timeout 10 2>/dev/null && return
        echo "PyTorch's index of CPU builds has no $torch or does not answer; taking what pip finds elsewhere." >&2
    fi
    pip "$torch"
}

# The JavaScript libraries that tests/js runs. Where node or npm is missing, or nothing can be fetched, they are skipped.
javascript() {
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        echo "No node and npm here: the tests of JavaScript clients are skipped." >&2
    elif [ ! tests/js/node_modules/.package-lock.json -nt tests/js/package-lock.json ]; then
        npm ci --prefix tests/js --silent --no-audit --no-fund ||
            echo "npm cannot install tests/js: the tests of JavaScript clients are skipped." >&2
    fi
}

pip() {
    .venv/bin/python -m pip --disable-pip-version-check install --quiet "$@"
}
