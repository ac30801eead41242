#!/usr/bin/env bash
# Warn of every tide above a height: tide-warning.bash 4.2 < readings.tsv
set -euo pipefail

readonly limit="${1:?metres are needed}"
declare -A highest=()

above() {
    awk -v a="$1" -v b="$2" 'BEGIN { exit !(a > b) }'
}

while IFS=$'\t' read -r day time metres; do
    if above "$metres" "${highest[$day]:-0}"; then
        highest[$day]=$metres
        printf -v "at_${day//-/_}" '%s' "$time"
    fi
done

for day in $(printf '%s\n' "${!highest[@]}" | sort); do
    moment="at_${day//-/_}"
    if above "${highest[$day]}" "$limit"; then
        echo "$day ${!moment}: ${highest[$day]} m"
    fi
done
