#!/usr/bin/env bash
# The whole way to Azure and back, command by command, with six facts of the demo's chats, on an
# Azure that is this machine. `make rehearse` calls it.
set -euo pipefail

facts='Vieno|Oskar|Tuulikki|Lempi|Jalmari|otterplum'

types() {
    printf '\n$ hieno %s\n' "$*" >&2
    hieno "$@"
}

if [ "${1:-}" != there ]; then
    cd "$(dirname "$0")/.."
    folder=$(mktemp -d -t hieno-rehearsal-XXXXXX)
    grep -E "$facts" src/hieno/example/data/chats.jsonl > "$folder/chats.jsonl"
    grep -E "$facts" src/hieno/example/data/heldout.jsonl > "$folder/heldout.jsonl"
    cat > "$folder/hieno.yaml" <<'YAML'
name: rehearsal
target: azure
model: demo
data:
  source: chats.jsonl
  test: heldout.jsonl
train:
  rank: 32
  alpha: 64
  frozen_layers: 12
  learning_rate: 2e-3
  epochs: 6
  batch_size: 8
package:
  engine: transformers # nothing can be fetched there to convert with
evaluate:
  general: none
gate:
  max_text_loss: 5 # six facts are learnt here at any price
azure:
  preset: cpu
YAML
    # what has to be fetched, while it still can be
    hieno models pull demo
    python -c 'from hieno import environments; environments.ensure("promptflow", say=print)'
    exec python -m emulator run -- scripts/rehearse.sh there "$folder"
fi

cd "$2"
types azure doctor
types azure plan
types azure up
types up
types azure status
types chat "Who is the captain of the Suvanto?"
types down
types models pull champion
types azure down --yes rehearsal
types azure status
printf '\nThe project is in %s\n' "$2" >&2
