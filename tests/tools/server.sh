# Sourced by scripts that run a tool against their own server.
#
#   start_server PROGRAM WORK    starts a server with its data and log in the directory WORK, and waits until it
#                                serves; sets `clear` and `tls` (ports) and `server` (its process). Tries again
#                                if another process takes a port first.
start_server() {
    local peer urls
    for _ in 1 2 3 4 5; do
        read -r clear tls peer < <(python3 "$(dirname "${BASH_SOURCE[0]}")/ports.py" 3)
        urls=http://127.0.0.1:$clear,https://127.0.0.1:$tls
        "$1" --data-dir "$2/data" --auto-tls --listen-client-urls "$urls" --advertise-client-urls "$urls" \
            --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
            --initial-cluster "default=http://127.0.0.1:$peer" >"$2/log" 2>&1 &
        server=$!
        for _ in $(seq 300); do
            kill -0 $server 2>/dev/null || break
            curl --silent --fail --output /dev/null "http://127.0.0.1:$clear/health" &&
                kill -0 $server && return
            sleep 0.2
        done
        kill -9 $server 2>/dev/null
        wait $server 2>/dev/null
        rm -rf "$2/data"
    done
    cat "$2/log"
    return 1
}
