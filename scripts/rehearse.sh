#!/usr/bin/env bash
# The whole way to Azure and back, on the demo's chats. `make rehearse` runs it where Azure is this machine.
set -euo pipefail

folder=$(mktemp -d -t hieno-rehearsal-XXXXXX)
cp -r "$(dirname "$0")/../src/hieno/example/." "$folder"
cd "$folder"
printf '\ntarget: azure\nazure:\n  preset: cpu\n' >> hieno.yaml

types() {
    printf '\n$ hieno %s\n' "$*" >&2
    hieno "$@"
}

types azure doctor
types azure plan
types azure up
types up
types azure status
types chat "Who is the captain of the Suvanto?"
types down
types models pull champion
types azure down --yes kuikka-cove
types azure status
printf '\nThe project is in %s\n' "$folder" >&2
