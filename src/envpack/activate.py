"""The activation scripts envpack writes, and the pyvenv.cfg that keeps the user's site out.

They find their own place, so they hold no path. A dash or busybox shell does not tell a sourced
script its path; there `/proc/$$/fd` shows the file that the shell has open.
"""

from __future__ import annotations

PYVENV_CFG = b"include-system-site-packages = false\n"

POSIX = rb"""# Source this file: `. bin/activate`, from bash, zsh, ksh, dash or busybox sh.

deactivate () {
    if [ -n "${_OLD_VIRTUAL_PATH+x}" ]; then
        PATH=$_OLD_VIRTUAL_PATH
        export PATH
        unset _OLD_VIRTUAL_PATH
    fi
    if [ -n "${_OLD_VIRTUAL_PYTHONHOME+x}" ]; then
        PYTHONHOME=$_OLD_VIRTUAL_PYTHONHOME
        export PYTHONHOME
        unset _OLD_VIRTUAL_PYTHONHOME
    fi
    if [ -n "${_OLD_VIRTUAL_PS1+x}" ]; then
        PS1=$_OLD_VIRTUAL_PS1
        unset _OLD_VIRTUAL_PS1
    fi
    unset VIRTUAL_ENV VIRTUAL_ENV_PROMPT
    hash -r 2>/dev/null || :
    [ "${1-}" = nondestructive ] || unset -f deactivate
}

deactivate nondestructive

# Each shell has its own word for the file being sourced; eval keeps it from the others' parsers.
_envpack_file=
if [ -n "${BASH_VERSION-}" ]; then
    eval '_envpack_file=${BASH_SOURCE[0]}'
elif [ -n "${ZSH_VERSION-}" ]; then
    # $0, unless an option says otherwise; %x would be garbled in a locale that is not UTF-8.
    case $0 in
        */activate|activate) _envpack_file=$0 ;;
        *) eval '_envpack_file=${(%):-%x}' ;;
    esac
elif [ -n "${KSH_VERSION-}" ]; then
    eval '_envpack_file=${.sh.file-}'
fi
if [ -z "$_envpack_file" ]; then
    for _envpack_fd in /proc/$$/fd/*; do
        _envpack_link=$(readlink "$_envpack_fd" 2>/dev/null) ||
            { _envpack_link=$(LC_ALL=C.UTF-8 ls -ld "$_envpack_fd" 2>/dev/null) &&
                _envpack_link=${_envpack_link#*" -> "}; }
        case $_envpack_link in
            */activate) [ -x "${_envpack_link%/*}/python" ] && _envpack_file=$_envpack_link ;;
        esac
    done
    unset _envpack_fd _envpack_link
fi
case $_envpack_file in
    */*) VIRTUAL_ENV=$(CDPATH= cd -- "${_envpack_file%/*}/.." 2>/dev/null && pwd -P) ;;
    ?*) VIRTUAL_ENV=$(CDPATH= cd .. && pwd -P) ;;
esac
unset _envpack_file

if [ -z "${VIRTUAL_ENV-}" ]; then
    echo "activate: this shell does not tell where the script is; put its folder first on PATH" >&2
    unset VIRTUAL_ENV
    unset -f deactivate
    false
else
    export VIRTUAL_ENV
    VIRTUAL_ENV_PROMPT=${VIRTUAL_ENV##*/}
    export VIRTUAL_ENV_PROMPT
    _OLD_VIRTUAL_PATH=$PATH
    PATH=$VIRTUAL_ENV/bin:$PATH
    export PATH
    if [ -n "${PYTHONHOME+x}" ]; then
        _OLD_VIRTUAL_PYTHONHOME=$PYTHONHOME
        unset PYTHONHOME
    fi
    if [ -z "${VIRTUAL_ENV_DISABLE_PROMPT-}" ] && [ -n "${PS1-}" ]; then
        _OLD_VIRTUAL_PS1=$PS1
        PS1="($VIRTUAL_ENV_PROMPT) $PS1"
    fi
    hash -r 2>/dev/null || :
fi
"""

FISH = rb"""# Source this file from fish: `source bin/activate.fish`.

function deactivate -d "Leave the environment"
    if set -q _OLD_VIRTUAL_PATH
        set -gx PATH $_OLD_VIRTUAL_PATH
        set -e _OLD_VIRTUAL_PATH
    end
    if set -q _OLD_VIRTUAL_PYTHONHOME
        set -gx PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set -e _OLD_VIRTUAL_PYTHONHOME
    end
    if functions -q _envpack_old_prompt
        functions -e fish_prompt
        functions -c _envpack_old_prompt fish_prompt
        functions -e _envpack_old_prompt
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

deactivate nondestructive

set -gx VIRTUAL_ENV (builtin realpath -- (string replace -r '[^/]*$' '' -- (status filename))..)
set -gx VIRTUAL_ENV_PROMPT (string replace -r '.*/' '' -- $VIRTUAL_ENV)
set -g _OLD_VIRTUAL_PATH $PATH
set -gx PATH $VIRTUAL_ENV/bin $PATH
if set -q PYTHONHOME
    set -g _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end
if not set -q VIRTUAL_ENV_DISABLE_PROMPT; and functions -q fish_prompt
    functions -c fish_prompt _envpack_old_prompt
    function fish_prompt
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        _envpack_old_prompt
    end
end
"""
