#!/bin/sh
{ # @TITLE@: a project with all it needs in one file, for @PLATFORMS@.
# sh FILE DIR installs it in DIR, without a network; sh FILE --help tells the rest.
set -u
payload=@PAYLOAD@
sum=@SUM@

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "error: $1"
    [ -z "${2-}" ] || say "hint: $2"
    exit 1
}

usage() {
    cat <<'TEXT'
Usage: sh FILE [OPTIONS] DIR

Installs @TITLE@ in DIR, offline.

  --check           verify every file, and install nothing
  --uninstall       remove from DIR, and beside it, what was installed; edited sources stay
  --python-dir DIR  where Python goes, instead of uv's own directory
  --install-uv      also put uv into ~/.local/bin, unless a newer one is there
  --replace-uv      the same, even if a newer one is there
  --sources-to DIR  put the sources there, if DIR holds edited ones
TEXT
}

# Whether this script is what was written, so that no changed byte of it does something else.
intact() {
    if command -v sha256sum > /dev/null 2>&1; then
        program=sha256sum
    elif command -v shasum > /dev/null 2>&1; then
        program='shasum -a 256'
    else
        return 0
    fi
    found=$(
        number=0
        while IFS= read -r line && [ "$line" != '@END@' ] && [ "$number" -lt 999 ]; do
            number=$((number + 1))
            case $line in
            (payload=* | sum=*) ;;
            (*) printf '%s\n' "$line" ;;
            esac
        done < "$self" | $program
    )
    [ "${found%% *}" = "$sum" ]
}

unpacked() {
    while IFS= read -r line; do
        [ "$line" = '@END@' ] && break
    done
    gzip -dc && return
    : > "$part/damaged"
}

# The version of this machine's glibc, nothing if there is none or it cannot be told.
glibc_here() {
    for try in 'getconf GNU_LIBC_VERSION' 'ldd --version' /lib64/libc.so.6 \
        /lib/*-linux-gnu*/libc.so.6 /usr/lib64/libc.so.6 /lib/libc.so.6; do
        told=$($try 2> /dev/null) || continue
        case $told in
        *GLIBC* | *glibc* | *'GNU '*) ;;
        *) continue ;;
        esac
        told=${told%%"$newline"*}
        told=${told##* }
        case $told in
        [0-9]*.[0-9]*) printf '%s\n' "${told%.}" && return ;;
        esac
    done
}

check_glibc() {
    here=$(glibc_here)
    if [ -z "$here" ]; then
        for file in /lib/ld-musl-*; do
            [ -e "$file" ] && fail "this bundle needs glibc $glibc or newer, and this machine has musl"
        done
        return
    fi
    more=${here#*.}
    least=${glibc#*.}
    if [ "${here%%.*}" -eq "${glibc%%.*}" ] && [ "${more%%[!0-9]*}" -lt "$least" ]; then
        fail "this bundle needs glibc $glibc or newer, and this machine has $here"
    fi
}

check_space() {
    free=$(df -Pk "$above" 2> /dev/null | {
        read -r line
        read -r _ _ _ number _
        printf '%s' "$number"
    })
    case $free in
    '' | *[!0-9]*) return ;;
    esac
    [ "$free" -ge "$space" ] ||
        fail "the disk of \`$above\` has $((free / 1024)) MiB free, and to unpack takes $((space / 1024))"
}

# What runs that were killed have left: what nobody holds, see holding.py. Where a shell had no lock
# its number tells, as far as numbers do: those of containers begin again in each.
sweep() {
    for old in "$above/.${target##*/}".*.part; do
        number=${old%.part}
        number=${number##*.}
        case $number in
        '' | *[!0-9a-f]*) continue ;;
        esac
        [ -d "$old" ] && [ ! -h "$old" ] || continue
        if [ -e "$old/unlocked" ]; then
            number=
            read -r number < "$old/unlocked" 2> /dev/null
            case $number in
            '' | *[!0-9]*) continue ;;
            esac
            [ "$number" = $$ ] || ! kill -0 "$number" 2> /dev/null || continue
            rm -rf -- "$old"
        elif command -v flock > /dev/null 2>&1; then
            flock -n "$old" rm -rf -- "$old" 2> /dev/null
        fi
    done
}

# Makes the folder for all that is not in its place yet, and holds it as long as this runs.
hold() {
    for try in 1 2 3 4 5 6 7 8 9; do
        command -v flock > /dev/null 2>&1 || break
        part=$above/.${target##*/}.$$$try.part
        mkdir -- "$part" 2> /dev/null || continue
        { command exec 9< "$part"; } 2> /dev/null && flock -n 9 2> /dev/null &&
            [ -d "$part" ] && return
        rmdir -- "$part" 2> /dev/null # swept just now, or nothing can be locked here
    done
    # Where nobody can hold it, it is marked before it has a name that is swept.
    new=$above/.${target##*/}.$$.new
    rm -rf -- "$new"
    for try in 1 2 3 4 5 6 7 8 9; do
        part=$above/.${target##*/}.$$0$try.part
        [ ! -e "$part" ] || continue
        mkdir -- "$new" 2> /dev/null && echo $$ > "$new/unlocked" && mv -- "$new" "$part" && return
        break
    done
    fail "the folder \`$above\` is not writable"
}

main() {
    newline='
'
    self=$0
    [ -f "$self" ] && [ -r "$self" ] || fail "\`$self\` cannot be read" 'call it by its path'
    intact || fail "\`$self\` is damaged, and nothing was installed"
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
    glibc= space=0
    case $machine in
    @MACHINES@
    *) fail "this bundle is for @PLATFORMS@, and this machine is $machine" ;;
    esac
    [ -z "$glibc" ] || check_glibc
    case $target in
    /*) ;;
    *) target=./$target ;;
    esac
    if [ -d "$target" ]; then
        target=$(cd -- "$target" 2> /dev/null && pwd) || fail "\`$target\` cannot be entered"
    fi
    while case $target in */) [ "$target" != / ] ;; *) false ;; esac do
        target=${target%/}
    done
    above=${target%/*}
    [ -d "${above:=/}" ] || fail "the folder \`$above\` does not exist" 'make it first'
    above=$(cd -- "$above" 2>/dev/null && pwd) || fail "the folder of \`$target\` cannot be entered"
    sweep
    check_space
    hold
    trap 'rm -rf -- "$part"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n' > "$part/try" && chmod 755 "$part/try" && "$part/try" 2> /dev/null ||
        fail "nothing can be run in \`$above\`: it is mounted noexec, or full" 'choose another folder'
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
    case $machine in
    @PYTHON@
    esac
    [ -n "$python" ] || fail "the bundle brings no Python, and there is no Python $version here"
    if ! "$python" -I -B -c '' 2> "$part/said"; then
        while IFS= read -r line; do
            [ -z "$line" ] || told=$line
        done < "$part/said"
        fail "Python $version does not start here: ${told-it gave no reason}"
    fi
    "$python" -I -B -X utf8 "$part/tree/.envpack/install.py" --run "$self" "$part/tree" "$@" || exit
}

main "$@"
exit
}
@END@
