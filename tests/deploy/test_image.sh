#!/usr/bin/env bash
# Build the image with buildah and try it. Needs root, buildah, and for Debian's base mmdebstrap:
#   apt-get install --no-install-recommends buildah mmdebstrap
# BASE=docker.io/library/python:3.13-slim takes another base, from a registry.
# WORK keeps what was built for the next run.
set -euo pipefail
cd "$(dirname "$0")/../.."

made=${WORK:-$(mktemp -d)}
mkdir -p "$made/base"
[ -n "${WORK:-}" ] || trap 'rm -rf "$made"' EXIT
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
tool() { buildah --root "$made/store" --runroot "$made/run" "$@"; }
step() { echo "== $*" >&2; }

if [ -z "${BASE:-}" ]; then
  BASE=localhost/riverbridge-base
  [ -e "$made/base/rootfs.tar" ] || {
    step "Debian's Python, by mmdebstrap"
    mmdebstrap --quiet --variant=minbase --include=python3-minimal,python3-venv,ca-certificates \
      bookworm "$made/base/rootfs.tar"
  }
  printf 'FROM scratch\nADD rootfs.tar /\n' >"$made/base/Dockerfile"
  tool bud --quiet --tag "$BASE" "$made/base"
fi

options=()
# This machine's package index and certificates, for the build only.
[ ! -r /etc/pip.conf ] || options+=(--secret id=pip,src=/etc/pip.conf)
[ ! -d /etc/ssl/certs ] || options+=(--volume /etc/ssl/certs:/etc/ssl/certs:ro)
step "build on $BASE"
tool bud --quiet --format docker "${options[@]}" --build-arg BASE="$BASE" --tag riverbridge .

container=$(tool from localhost/riverbridge)
inside() { tool run "$container" -- "$@"; }
is() { [ "$2" = "$3" ] || { echo "test-image: $1 is '$2', not '$3'" >&2; exit 1; }; }
config() { tool inspect --type image --format "{{$1}}" localhost/riverbridge; }

step "try it"
inside riverbridge --help | grep -q "Run the bridge"
is "the user" "$(inside sh -c 'id -u; id -un' | xargs)" "10001 riverbridge"
is "exit code without settings" "$(inside riverbridge run >/dev/null 2>&1; echo $?)" 78
is "what is writable" "$(inside find /opt/riverbridge /etc/riverbridge -writable)" ""
inside python3 -c "import riverbridge.sinks.kafka, riverbridge.sinks.sqs, riverbridge.service"
inside sh -c 'test -n "$(find /opt/riverbridge -path "*riverbridge/__pycache__/*.pyc")"'
is "the image's user" "$(config .Docker.Config.User)" "10001:10001"
is "the entry point" "$(config .Docker.Config.Entrypoint)" "[riverbridge]"
is "the command" "$(config .Docker.Config.Cmd)" "[run]"
is "the stop signal" "$(config .Docker.Config.StopSignal)" "SIGTERM"
is "the image's secrets" "$(inside sh -c 'cat /etc/pip.conf 2>/dev/null || true')" ""
tool images
step "good"
