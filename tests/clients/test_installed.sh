#!/bin/sh
# Installs the tree, moves it, builds the example with what pkg-config says, and runs it where no
# router answers: it must say so.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cmake --install "$BATON_BUILD" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
PKG_CONFIG_PATH=$work/moved/lib/pkgconfig
export PKG_CONFIG_PATH
case "$(pkg-config --modversion baton)" in
0.*) ;;
*) echo "no version: $(pkg-config --modversion baton)"; exit 1 ;;
esac
# shellcheck disable=SC2046 # words are wanted
${CC:-cc} -o "$work/example" "$BATON_ROOT/clients/c/example.c" \
    $(pkg-config --cflags --libs baton)
if "$work/example" "ipc://$work/nobody" >"$work/out" 2>&1; then
    echo "it claims to have had an answer"
    exit 1
fi
grep -q '^example: .*answer' "$work/out" || { cat "$work/out"; exit 1; }
