#!/bin/sh
# Builds the guests of this workspace from source and makes components of them: `hooks/guests/build.sh [OUT_DIR]`.
# OUT_DIR is `prebuilt/` beside this script unless it is given.
#
# The guests are core modules for wasm32-unknown-unknown, so they import nothing but what the contract offers. The target's
# standard library comes, in this order, from
#   1. rustup (`rustup target add wasm32-unknown-unknown`, tried when it is not there), or
#   2. Debian's `rustc-web` and `rust-web-src` (`apt-get install rustc-web rust-web-src`), built from source for the target.
set -eu

guests=$(cd "$(dirname "$0")" && pwd)
out=${1:-$guests/prebuilt}
mkdir -p "$out"
out=$(cd "$out" && pwd)
target=wasm32-unknown-unknown
packages="prompt-template redact"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$guests/target}"
cd "$guests"

has_rustup_target() {
    [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]
}

build_with_rustup() {
    echo "guests: built with $(rustc --version) and rustup's $target" >&2
    build_guests
}

build_with_debian() {
    debian_rustc=/usr/bin/rustc
    lld=$(find "$(rustc --print sysroot)" -name rust-lld -type f | head -n 1)
    if [ ! -x "$debian_rustc" ] || [ ! -d "$("$debian_rustc" --print sysroot)/lib/rustlib/src/rust/library" ]; then
        echo "guests: no standard library for $target: run \`rustup target add $target\`," >&2
        echo "guests: or on Debian \`apt-get install rustc-web rust-web-src\`" >&2
        exit 1
    fi
    echo "guests: built with Debian's $("$debian_rustc" --version) and its library sources" >&2
    # A stable compiler builds its own library only when told that this is meant.
    export RUSTC="$debian_rustc" RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$lld"
    build_guests -Z build-std=std,panic_abort
}

build_guests() {
    # Paths of this machine stay out of the panic messages, so that two machines make the same bytes.
    remap="--remap-path-prefix=$guests=guests"
    cargo fetch --quiet --locked
    for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
        remap="$remap --remap-path-prefix=$sources=crates"
    done
    # shellcheck disable=SC2086 # a list of packages
    RUSTFLAGS="$remap" cargo build --quiet --locked --release --target "$target" \
        $(for package in $packages; do printf ' -p %s' "$package"; done) "$@"
}

has_rustup_target || rustup target add "$target" >/dev/null 2>&1 || true
if has_rustup_target; then
    build_with_rustup
else
    (build_with_debian)
fi

cargo build --quiet --locked -p componentize
for package in $packages; do
    module=$(echo "$package" | tr - _).wasm
    "$CARGO_TARGET_DIR/debug/componentize" "$CARGO_TARGET_DIR/$target/release/$module" "$out/$package.wasm"
    echo "guests: $out/$package.wasm ($(wc -c <"$out/$package.wasm") bytes)" >&2
done
