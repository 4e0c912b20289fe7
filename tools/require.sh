#!/usr/bin/env bash
# Checks one tool that the Makefile needs and prints its path, or says what is missing and how to get it.
#   tools/require.sh python   -> path of a Python 3.11 or 3.12 that can create virtual environments
#   tools/require.sh node     -> path of Node 20.19 or newer, with npm
#   tools/require.sh openssl  -> path of openssl (only `make run-https` needs it)
# PYTHON names another interpreter: make run PYTHON=/opt/python/bin/python3.12
# Kept to bash 3.2, which macOS ships.
set -u

is_macos() { [ "$(uname -s)" = Darwin ]; }

fail() { # what is wrong; then one line per way out
  printf '\nSignFlow cannot go on: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  printf '\n' >&2
  exit 1
}

python_is_supported() {
  "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

require_python() {
  local found="" seen="" candidate
  for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    seen="$seen $("$candidate" --version 2>&1 | tr ' ' '-')"
    if python_is_supported "$candidate"; then found=$(command -v "$candidate"); break; fi
  done
  if [ -z "$found" ]; then
    local what="Python 3.11 or 3.12 is needed (found:${seen:- none})"
    if is_macos; then
      fail "$what." "macOS:  brew install python@3.12"
    fi
    fail "$what." \
      "Debian 12:     sudo apt-get install python3 python3-venv" \
      "Ubuntu 24.04:  sudo apt-get install python3 python3-venv" \
      "any Linux:     https://docs.astral.sh/uv/ and then: uv python install 3.12" \
      "another one:   make run PYTHON=/path/to/python3.12"
  fi
  if ! "$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    fail "$found cannot create virtual environments (module venv or ensurepip is missing)." \
      "Debian, Ubuntu:  sudo apt-get install python3-venv" \
      "macOS:           brew reinstall python@3.12"
  fi
  printf '%s\n' "$found"
}

require_node() {
  local version
  version=$(node --version 2>/dev/null || true)
  # 20.19 is the first of the 20 series that Vite runs on.
  if ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' \
    >/dev/null 2>&1; then
    local what="Node 20.19 or newer is needed to build the page (found: ${version:-none})"
    if is_macos; then
      fail "$what." "macOS:  brew install node"
    fi
    fail "$what." \
      "Debian 13, Ubuntu 25.04 or newer:  sudo apt-get install nodejs npm" \
      "Debian 12, Ubuntu 24.04 or older:  their package is too old; take 22 from https://nodejs.org/en/download" \
      "any, without root:                 nvm install 22   (https://github.com/nvm-sh/nvm)"
  fi
  if ! command -v npm >/dev/null 2>&1; then
    fail "npm is missing beside Node $version." "Debian, Ubuntu:  sudo apt-get install npm" "macOS:           brew reinstall node"
  fi
  command -v node
}

require_openssl() {
  command -v openssl || fail "openssl is needed to make a certificate." \
    "Debian, Ubuntu:  sudo apt-get install openssl" "macOS:           brew install openssl"
}

case "${1:-}" in
  python) require_python ;;
  node) require_node ;;
  openssl) require_openssl ;;
  *) fail "tools/require.sh knows python, node and openssl, not '${1:-}'." ;;
esac
