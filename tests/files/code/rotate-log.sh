#!/bin/sh
# Keep the log of the lamp for a fortnight: lamp.log, lamp.log.1, ... lamp.log.14.
set -eu

folder=${1:?usage: rotate-log.sh FOLDER}
kept=14

rotate() {
    number=$kept
    rm -f "$folder/lamp.log.$number"
    while [ "$number" -gt 1 ]; do
        before=$((number - 1))
        if [ -e "$folder/lamp.log.$before" ]; then
            mv "$folder/lamp.log.$before" "$folder/lamp.log.$number"
        fi
        number=$before
    done
    if [ -e "$folder/lamp.log" ]; then
        mv "$folder/lamp.log" "$folder/lamp.log.1"
    fi
}

rotate
: > "$folder/lamp.log"
