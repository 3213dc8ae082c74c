#!/bin/sh
# @TITLE@: sources, packages, Python and uv in one file, for @PLATFORMS@.
# sh FILE DIR installs it in DIR, without a network; sh FILE --help tells the rest.
set -u
payload=@PAYLOAD@

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "error: $*"
    exit 1
}

usage() {
    cat <<'TEXT'
Usage: sh FILE [OPTIONS] DIR

Installs @TITLE@ in DIR, offline.

  --check           verify every file, and install nothing
  --python-dir DIR  where Python goes, instead of uv's own directory
  --install-uv      also put uv into ~/.local/bin
  --sources-to DIR  put the sources there, if DIR holds edited ones
TEXT
}

unpacked() {
    while IFS= read -r line; do
        [ "$line" = '@END@' ] && break
    done
    gzip -dc && return
    : > "$part/damaged"
}

main() {
    self=$0
    [ -f "$self" ] && [ -r "$self" ] || fail "\`$self\` cannot be read; call it by its path"
    check= target= next=
    for word in "$@"; do
        if [ -n "$next" ]; then
            next=
            continue
        fi
        case $word in
        -h | --help) usage && exit 0 ;;
        --check) check=1 ;;
        --python-dir | --sources-to) next=1 ;;
        -*) ;;
        *) target=$word ;;
        esac
    done
    if [ -z "$target" ]; then
        if [ -z "$check" ]; then
            usage >&2
            exit 2
        fi
        target=${TMPDIR:-/tmp}/bundle
        set -- "$@" "$target"
    fi
    machine="$(uname -s) $(uname -m)"
    case $machine in
    @MACHINES@) ;;
    *) fail "this bundle is for @PLATFORMS@, and this machine is $machine" ;;
    esac
    case $target in
    /*) ;;
    *) target=./$target ;;
    esac
    while case $target in */) [ "$target" != / ] ;; *) false ;; esac do
        target=${target%/}
    done
    above=${target%/*}
    [ -d "${above:=/}" ] || fail "the folder \`$above\` does not exist"
    above=$(cd -- "$above" 2>/dev/null && pwd) || fail "the folder of \`$target\` cannot be entered"
    part=$above/.${target##*/}.$$.part
    mkdir -- "$part" 2>/dev/null || fail "the folder \`$above\` is not writable"
    trap 'rm -rf -- "$part"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir -- "$part/tree" "$part/python"
    unpacked < "$self" 2> "$part/said" | tar -xf - -C "$part/tree" 2>> "$part/said" ||
        : > "$part/damaged"
    if [ -e "$part/damaged" ]; then
        while IFS= read -r line; do
            case $line in
            *'o space left'*) fail "the disk of \`$above\` is full" ;;
            esac
        done < "$part/said"
        fail "\`$self\` is damaged, and nothing was installed"
    fi
    python=
    @PYTHON@
    [ -n "$python" ] || fail "there is no Python here that could install it"
    "$python" -I -B -X utf8 "$part/tree/.envpack/install.py" --run "$self" "$part/tree" "$@" || exit
}

main "$@"
exit
@END@
