#!/bin/sh
# Starts `uv tool run` by the wrapper beside this one.
self=$0
while [ -h "$self" ]; do
    link=$(readlink "$self") || exit
    case $link in
    /*) self=$link ;;
    *) self=${self%/*}/$link ;;
    esac
done
case $self in
*/*) exec "${self%/*}/uv" tool run "$@" ;;
*) exec ./uv tool run "$@" ;;
esac
