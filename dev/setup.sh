# What dev/demo and dev/test share: sourced, not run. Leaves an up-to-date pip in .venv.
# shellcheck shell=bash

say() { printf '%s: %s\n' "$0" "$1" >&2; }

fail() {
  say "$1"
  exit 1
}

# ensurepip is what Debian leaves out of python3; without it no venv gets a pip.
has_python() { python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_compiler() { command -v g++ >/dev/null; }

# install_packages PACKAGE...: by apt, as root or through sudo.
install_packages() {
  command -v apt-get >/dev/null ||
    fail "needs these Debian packages or their like, and finds no apt-get: $*. Install them, then run this again."
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "needs the packages $*. Become root (or install sudo) and run: apt-get install $*"
    as_root=(sudo)
  fi
  say "installing $*"
  "${as_root[@]}" apt-get update -qq </dev/null
  # dpkg names every file it unpacks on stdout; what goes wrong comes on stderr.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >/dev/null
}

# A venv that was copied or whose Python is gone cannot be mended: it is made anew.
make_venv() {
  .venv/bin/python -c 'import pip' 2>/dev/null || python3 -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --upgrade 'pip>=25.1'  # the first with --group
}
