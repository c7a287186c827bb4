#!/bin/sh
# Starts or stops a private PostgreSQL for the tests: `postgres.sh start DIRECTORY` prints its URL, `postgres.sh stop DIRECTORY` removes it.
# It listens on 127.0.0.1 on a free port and gives up durability for speed: what it holds is thrown away.
set -eu

usage() {
    echo "usage: $0 start|stop DIRECTORY" >&2
    exit 2
}

programs() {
    if command -v pg_ctl >/dev/null; then
        dirname "$(command -v pg_ctl)"
    else
        # Debian keeps them out of the path, one directory a version.
        ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1
    fi
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid postgres --regid postgres --clear-groups "$@"
    else
        "$@"
    fi
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

start() {
    port=$(free_port)
    mkdir -p "$directory"
    if [ "$(id -u)" -eq 0 ]; then
        chown postgres "$directory"
    fi
    as_postgres "$bin/initdb" --pgdata "$directory/data" --username postgres --auth trust --encoding UTF8 --no-locale --no-sync \
        >"$directory/initdb.log"
    cat >>"$directory/data/postgresql.conf" <<SETTINGS
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = ''
max_connections = 400
fsync = off
full_page_writes = off
SETTINGS
    as_postgres "$bin/pg_ctl" --pgdata "$directory/data" --log "$directory/server.log" --wait start >/dev/null
    echo "postgres://postgres@127.0.0.1:$port/postgres"
}

stop() {
    as_postgres "$bin/pg_ctl" --pgdata "$directory/data" --mode immediate --wait stop >/dev/null
    rm -rf "$directory"
}

[ $# -eq 2 ] || usage
directory=$2
bin=$(programs)
if [ -z "$bin" ]; then
    echo "$0: PostgreSQL is not installed (Debian: apt-get install postgresql)" >&2
    exit 1
fi
case $1 in
    start) start ;;
    stop) stop ;;
    *) usage ;;
esac
