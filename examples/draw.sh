#!/usr/bin/env bash
# Draws one picture and saves it: bash examples/draw.sh [URL] [FILE]. Needs curl 7.76 or newer.
set -euo pipefail
url=${1:-${UNFOG_URL:-http://127.0.0.1:8000}}
file=${2:-art.png}

# The key is read from a pipe, so that no list of processes shows it.
call() {
    curl -sS --fail-with-body -H @<(printf '%s\n' "${UNFOG_API_KEY:+Authorization: Bearer $UNFOG_API_KEY}") "$@"
}

# Submit. The key of the request makes it safe to repeat: the same key is the same job.
job=$(call --retry 4 -H "Idempotency-Key: $RANDOM$RANDOM$RANDOM$RANDOM" \
    -H 'Content-Type: application/json' -d '{"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}' \
    "$url/v1/jobs") || { echo "$job" >&2; exit 1; }
[[ $job =~ job_[0-9a-f]{24} ]]
job=$url/v1/jobs/${BASH_REMATCH[0]}

# Until it has ended, asking for the picture is answered with 202; its events tell how far it is.
while status=$(call -o "$file" -w '%{http_code}' -H 'Accept: image/png' "$job") && [ "$status" = 202 ]; do
    call --no-buffer "$job/events" | while read -r line; do
        if [[ $line =~ \"fraction\":\ ?([0-9.]+) ]]; then echo "fraction ${BASH_REMATCH[1]}" >&2; fi
    done || sleep 1
done
if [ "$status" != 200 ]; then
    cat "$file" >&2 # the reason
    rm -f "$file"
    exit 1
fi
echo "$file"
