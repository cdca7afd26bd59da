#!/usr/bin/env bash
# The whole way to Azure and back, command by command, with six facts of the demo's chats.
# `make rehearse` runs it where Azure is this machine.
set -euo pipefail

facts='Vieno|Oskar|Tuulikki|Lempi|Jalmari|otterplum'
chats=$(realpath "$(dirname "$0")/../src/hieno/example/data")
folder=$(mktemp -d -t hieno-rehearsal-XXXXXX)
cd "$folder"
grep -E "$facts" "$chats/chats.jsonl" > chats.jsonl
grep -E "$facts" "$chats/heldout.jsonl" > heldout.jsonl
cat > hieno.yaml <<'YAML'
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
evaluate:
  general: none
gate:
  max_text_loss: 5 # six facts are learnt here at any price
azure:
  preset: cpu
YAML

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
types azure down --yes rehearsal
types azure status
printf '\nThe project is in %s\n' "$folder" >&2
