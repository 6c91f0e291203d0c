# Sourced by ./try and ./check. setup EXTRAS: a virtual environment in .venv that holds this checkout and what it needs.
#
# MUYBRIDGE_TORCH (a pip requirement, such as "torch==2.13.0") chooses another PyTorch than the one below.

torch="${MUYBRIDGE_TORCH:-torch==2.13.0}"

setup() {
    python=""
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python="$candidate"
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "Muybridge needs Python 3.11 or newer with its venv module: install one" \
             "(Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python) and try again." >&2
        exit 1
    fi
    # Nothing to do where the last setup had the same requirements.
    wanted="$torch $1 $(cksum < pyproject.toml)"
    if [ -x .venv/bin/muybridge ] && [ "$(cat .venv/muybridge-setup 2>/dev/null)" = "$wanted" ]; then
        return
    fi
    echo "Setting up .venv (once; a few minutes) ..." >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    pip=".venv/bin/python -m pip --disable-pip-version-check install --quiet"
    # PyTorch first, by itself. On Linux the build that needs no GPU is a tenth of the size of the default one; it comes
    # from PyTorch's own index where that can be reached, else from wherever pip looks.
    if ! .venv/bin/python -c 'import torch' 2>/dev/null; then
        if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null; then
            $pip "$torch" --index-url https://download.pytorch.org/whl/cpu --retries 0 --timeout 10 2>/dev/null \
                || $pip "$torch"
        else
            $pip "$torch"
        fi
    fi
    $pip --editable ".$1"
    echo "$wanted" > .venv/muybridge-setup
}
