#!/usr/bin/env bash
# The whole of Cofferdam on this machine: installs the pinned tools, builds, starts Anvil and Postgres, deploys,
# appends audit records, anchors, mirrors and verifies them. `./anvil.sh --help` lists the options.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

"$root/script/bootstrap"
echo "building (the first time takes some minutes) ..." >&2
(cd "$root" && cargo build --locked --quiet --package cofferdam-cli --bin cofferdam) >&2

export COFFERDAM_DATA=${COFFERDAM_DATA:-$root/.cofferdam}
# In this very process, so that whatever ends the script ends what it started.
exec "${CARGO_TARGET_DIR:-$root/target}/debug/cofferdam" devnet "$@"
