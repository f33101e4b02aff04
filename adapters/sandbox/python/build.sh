#!/bin/sh
# Builds python.wasm, the interpreter that code of models runs in, on Debian 12 (bookworm) from Debian's own packages:
#   apt-get install build-essential clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32 binaryen python3.11 nodejs zstd
# The source is Debian's source package python3.11 (3.11.2): its original tarball, unpatched. It is fetched if it is not in
# the folder of the work already.
# What it gives has the same SHA-256 each time, in whatever folder: `python.wasm.sha256` as it is checked in.
#   adapters/sandbox/python/build.sh WORKDIR
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
tarball=python3.11_3.11.2.orig.tar.gz
sum=2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849
tools=/usr/lib/llvm-14/bin
native=/usr/bin/python3.11

cd "$work"
if ! [ -f "$tarball" ]; then
    echo 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main' >sources
    mkdir -p lists/partial
    set -- -o "Dir::Etc::sourcelist=$work/sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o APT::Sandbox::User=root
    apt-get "$@" update
    apt-get "$@" source --download-only python3.11
fi
echo "$sum  $tarball" | sha256sum --check
[ -d Python-3.11.2 ] || tar xf "$tarball"

# A sysroot with nothing but WASI's headers and libraries: /usr itself has those of the host too.
mkdir -p sysroot/include sysroot/lib
ln -sfn /usr/include/wasm32-wasi sysroot/include/wasm32-wasi
ln -sfn /usr/lib/wasm32-wasi sysroot/lib/wasm32-wasi
compiler="$tools/clang --target=wasm32-wasi --sysroot=$work/sysroot"

mkdir -p cross && cd cross
if ! [ -f Makefile ]; then
    # What has no meaning without processes, sockets, threads or files is left out.
    for module in _socket select mmap _posixsubprocess _multiprocessing _posixshmem fcntl resource termios syslog grp pwd \
        _ctypes _curses _curses_panel _dbm _gdbm _lzma _bz2 _ssl _hashlib _sqlite3 _tkinter _uuid zlib nis ossaudiodev \
        readline spwd _crypt audioop _xxsubinterpreters _xxtestfuzz xxlimited xxlimited_35 _testcapi _testclinic \
        _testinternalcapi _testbuffer _testimportmultiple _testmultiphase _ctypes_test _codecs_cn _codecs_hk \
        _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _multibytecodec _lsprof; do
        eval "export py_cv_module_$module=n/a"
    done
    CC="$compiler" CPP="$compiler -E" AR="$tools/llvm-ar" RANLIB="$tools/llvm-ranlib" LDSHARED="$tools/wasm-ld" \
        CFLAGS="-O2 -g0" CONFIG_SITE=../Python-3.11.2/Tools/wasm/config.site-wasm32-wasi PKG_CONFIG=false \
        ../Python-3.11.2/configure -C --host=wasm32-unknown-wasi --build="$(../Python-3.11.2/config.guess)" \
        --with-build-python="$native" --without-ensurepip --disable-test-modules --with-suffix=.wasm \
        --without-pymalloc --without-decimal-contextvar
fi
# The interpreter says when it was built, as the epoch of its clock here.
make -j2 EXTRA_CFLAGS="-Wno-builtin-macro-redefined '-D__DATE__=\"Jan  1 2000\"' '-D__TIME__=\"00:00:00\"'" libpython3.11.a
cd ..

libraries="cross/libpython3.11.a $(find cross/Modules -name '*.a' | tr '\n' ' ')"
# shellcheck disable=SC2086 # words on purpose
$compiler -O2 -mexec-model=reactor -Icross -IPython-3.11.2/Include "$here/guest.c" $libraries \
    -D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_PROCESS_CLOCKS \
    -lwasi-emulated-signal -lwasi-emulated-getpid -lwasi-emulated-process-clocks -lm \
    -Wl,-z,stack-size=1048576 -Wl,--stack-first -Wl,--strip-all -o plain.wasm

# The standard library is only read while the interpreter is started, here.
rm -rf library && mkdir library && cp -r Python-3.11.2/Lib/. library/ && cp "$here/driver.py" library/
wasm-opt -O3 plain.wasm -o quick.wasm
node --no-warnings "$here/snapshot.mjs" quick.wasm library python.wasm
zstd --ultra -22 -f -q python.wasm -o "$here/python.wasm.zst"
sha256sum python.wasm | cut -d " " -f 1 >"$here/python.wasm.sha256"
