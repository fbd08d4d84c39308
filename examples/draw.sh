#!/bin/sh
# Draws one picture and saves it: sh examples/draw.sh [URL] [FILE]
set -eu
url=${1:-${UNFOG_URL:-http://127.0.0.1:8000}}
file=${2:-art.png}

# Submit; the answer's Location says where the job is.
job=$(curl -sS -f -o /dev/null -D - -H 'Content-Type: application/json' \
    -d '{"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}' "$url/v1/jobs" |
    tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
[ -n "$job" ] || exit 1
case $job in /*) job=$url$job ;; esac

# While it runs, asking for the picture is answered with 202.
while :; do
    status=$(curl -sS -o "$file" -w '%{http_code}' -H 'Accept: image/png' "$job")
    [ "$status" = 202 ] || break
    sleep 1
done
if [ "$status" != 200 ]; then
    cat "$file" >&2 # the reason
    rm -f "$file"
    exit 1
fi
echo "$file"
