# shellcheck shell=bash disable=SC2034 # what seems unused is for the scripts that source this
# Sourced by the scripts beside it: makes a virtual environment that holds this project, and keeps it current.
# Everything here is safe to run twice at once: setting up holds a lock on the folder that the environment is in.

clone=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
cache=${ONLOOKER_CACHE:-${XDG_CACHE_HOME:-~/.cache}/onlooker}
pip=(-I -m pip --quiet --disable-pip-version-check --no-input)

die() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  exit 1
}

# What the installed project was made of: each source's path and time. It also tells of a file that went away.
fingerprint() {
  find "${@/#/$clone/}" \( -name __pycache__ -o -name '*.egg-info' -o -name '*.so' \) -prune -o -type f -printf '%p %T@\n' 2>/dev/null || true
}

# True if the environment $1 was made of exactly what the fingerprint $2 says, and still starts.
is_current() {
  [ -x "$1/bin/python" ] && [ -r "$1/made-of" ] && [ "$(<"$1/made-of")" = "$2" ]
}

# Prints the Python to use. Where none will do, says what the first one lacks and which Debian package has that.
find_python() {
  local candidates=(python3 python3.{15,14,13,12,11,10} /usr/bin/python3) candidate facts lack compiler first=""
  [ -z "${ONLOOKER_PYTHON:-}" ] || candidates=("$ONLOOKER_PYTHON")
  for candidate in "${candidates[@]}"; do
    mapfile -t facts < <("$candidate" -I -c '
import importlib.util, sys, sysconfig
if sys.version_info >= (3, 10) and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print(sys.executable)
    print("python%d.%d" % sys.version_info[:2])
    print((sysconfig.get_config_var("CC") or "cc").split()[0])
    print(sysconfig.get_path("include"))
    print(getattr(importlib.util.find_spec("ensurepip"), "origin", None))' 2>/dev/null)
    [ ${#facts[@]} = 5 ] || continue
    compiler=${CC:-${facts[2]}}
    lack=""
    [ "${facts[4]}" != None ] || lack+=", its venv module (apt-get install ${facts[1]}-venv)"
    if ! command -v "${compiler%% *}" >/dev/null; then
      lack+=", a C compiler (apt-get install gcc libc6-dev)"
    elif ! $compiler -E -include stdio.h -x c /dev/null >/dev/null 2>&1; then
      lack+=", the C library's headers (apt-get install libc6-dev)"
    fi
    # Without a working compiler only the file can be looked for.
    if [ ! -e "${facts[3]}/Python.h" ] ||
      { [ -z "$lack" ] && ! $compiler -E -I "${facts[3]}" -include Python.h -x c /dev/null >/dev/null 2>&1; }; then
      lack+=", its header Python.h (apt-get install ${facts[1]}-dev)"
    fi
    if [ -z "$lack" ]; then
      echo "${facts[0]}"
      return
    fi
    first=${first:-"to be used, ${facts[0]} lacks ${lack#, }"}
  done
  die "${first:-"no Python of 3.10 or later was found (apt-get install python3 python3-venv python3-dev)"}"
}

# Copies what the project is built from, so that a build leaves nothing behind in the clone.
copy_sources() {
  local name
  mkdir "$1"
  for name in agent native proto pyproject.toml setup.py MANIFEST.in README.md LICENSE; do
    [ ! -e "$clone/$name" ] || cp -R "$clone/$name" "$1/"
  done
  find "$1" \( -name __pycache__ -o -name '*.egg-info' -o -name '*.so' \) -prune -exec rm -rf {} +
}

# make_environment FOLDER FINGERPRINT COMMAND...: makes FOLDER current, unless that was done in the meantime. COMMAND
# installs into it, and is given its Python and a scratch folder. What they print is shown only if they fail.
make_environment() {
  local venv=$1 made_of=$2 python scratch
  shift 2
  python=$(find_python)
  mkdir -p "$(dirname "$venv")"
  exec 9<"$(dirname "$venv")"
  flock 9
  if ! is_current "$venv" "$made_of"; then
    echo "setting up (once) ..." >&2
    scratch=$(mktemp -d)
    rm -f "$venv/made-of"
    if ! { { "$venv/bin/python" -I -m pip --version || "$python" -m venv --clear "$venv"; } &&
      "$@" "$venv/bin/python" "$scratch"; } >"$scratch/log" 2>&1; then
      tail -n 60 "$scratch/log" >&2
      die "setting up failed; all that was printed is in $scratch/log"
    fi
    rm -rf "$scratch"
    printf '%s\n' "$made_of" >"$venv/made-of"
  fi
  exec 9<&-
}
