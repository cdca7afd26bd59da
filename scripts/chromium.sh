#!/bin/sh
# Install Debian's Chromium for the browser tests, where this user may.
command -v apt-get >/dev/null || exit 0
if [ "$(id -u)" = 0 ]; then root=""; elif sudo -n true 2>/dev/null; then root="sudo -n"; else
  echo "chromium is missing: the browser tests will be skipped (apt-get install chromium)" >&2
  exit 0
fi
echo "installing chromium for the browser tests (once)" >&2
$root apt-get update -qq >/dev/null &&
  DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq chromium >/dev/null ||
  echo "chromium could not be installed: the browser tests will be skipped" >&2
