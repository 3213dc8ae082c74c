#!/bin/sh
# Starts the uv of this folder, wherever the folder is now. Variables that are set stay as they are.
self=$0
while [ -h "$self" ]; do
    link=$(readlink "$self") || exit
    case $link in
    /*) self=$link ;;
    *) self=${self%/*}/$link ;;
    esac
done
case $self in
*/*) root=${self%/*} ;;
*) root=. ;;
esac
root=$(CDPATH='' cd -- "$root/.." && pwd) || exit

machine="$(uname -s) $(uname -m)"
case $machine in
@MACHINES@
*)
    echo "error: this folder has no uv for $machine" >&2
    exit 1
    ;;
esac

: "${UV_CONFIG_FILE=$root/uv.toml}"
export UV_CONFIG_FILE
if [ -d "$root/python/archives" ]; then
    : "${UV_PYTHON_CACHE_DIR=$root/python/archives}"
    : "${UV_PYTHON_DOWNLOADS_JSON_URL=$root/python/downloads.json}"
    export UV_PYTHON_CACHE_DIR UV_PYTHON_DOWNLOADS_JSON_URL
fi

# What `uv python install` and its like change is the user's own; the Pythons here stay as they are.
told= value=
for word do
    if [ -n "$value" ]; then
        value=
        continue
    fi
    case $word in
    --directory | --project | --config-file | --cache-dir | --color | --allow-insecure-host)
        value=next
        continue
        ;;
    esac
    case $told$word in
    python) told=python/ ;;
    python/install | python/uninstall | python/upgrade)
        told=own
        break
        ;;
    -* | python/-*) ;;
    *) break ;;
    esac
done
if [ "$told" != own ]; then
    for tree in "$root"/python/cpython-*-"$system"-*; do
        if [ -d "$tree" ]; then
            : "${UV_PYTHON_INSTALL_DIR=$root/python}"
            export UV_PYTHON_INSTALL_DIR
            break
        fi
    done
fi
exec "$root/libexec/$program" "$@"
