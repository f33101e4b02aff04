// Starts the interpreter, and writes it down as it is then: `node snapshot.mjs MODULE.wasm LIBRARY STARTED.wasm`.
//
// All that a start changes is the memory: tables and globals are as before. So the new module is the old one, with a memory
// that begins as large as it is now, and with what is in it now in the place of its data.
import fs from 'node:fs';
import { join } from 'node:path';
import { WASI } from 'node:wasi';

const [module, library, started] = process.argv.slice(2);
const bytes = fs.readFileSync(module);

const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: { '/lib': library } });
const imports = wasi.getImportObject();
let memory;
// The same module from every start, on any machine: no clock, nothing random, and files that have no times and numbers of
// their own, in the order of their names.
const NOW = 946684800000000000n;
const NUMBER = 1n;
const calls = imports.wasi_snapshot_preview1;
const view = () => new DataView(memory.buffer);
calls.clock_time_get = (_clock, _precision, at) => {
    view().setBigUint64(at, NOW, true);
    return 0;
};
calls.random_get = (at, length) => {
    new Uint8Array(memory.buffer).fill(7, at, at + length);
    return 0;
};
const {
    fd_fdstat_get: status,
    fd_filestat_get: statOpen,
    fd_seek: seek,
    fd_tell: tell,
    path_filestat_get: stat,
    path_open: open,
} = calls;
// Kinds of files.
const DEVICE = 2;
const FOLDER = 3;
const FILE = 4;
const NO_SEEK = 70;
// The first that is not for printing or reading.
const PREOPENED = 3;
const STAT = { bytes: 64, device: 0, number: 8, kind: 16, links: 24, size: 32, times: [40, 48, 56] };
function plain(error, at) {
    if (error !== 0) return error;
    const set = (field, value) => view().setBigUint64(at + field, value, true);
    for (const field of [STAT.device, STAT.number, STAT.links]) set(field, NUMBER);
    for (const field of STAT.times) set(field, NOW);
    if (view().getUint8(at + STAT.kind) === FOLDER) set(STAT.size, 0n);
    return 0;
}
calls.path_filestat_get = (folder, flags, path, length, at) => plain(stat(folder, flags, path, length, at), at);
// Wherever this prints to: it is a device, as when programs run (wasi.rs).
calls.fd_filestat_get = (file, at) => {
    if (file >= PREOPENED) return plain(statOpen(file, at), at);
    new Uint8Array(memory.buffer).fill(0, at, at + STAT.bytes);
    view().setUint8(at + STAT.kind, DEVICE);
    return plain(0, at);
};
calls.fd_fdstat_get = (file, at) => {
    if (file >= PREOPENED) return status(file, at);
    new Uint8Array(memory.buffer).fill(0, at, at + 8).fill(255, at + 8, at + 24);
    view().setUint8(at, DEVICE);
    return 0;
};
calls.fd_seek = (file, ...rest) => (file >= PREOPENED ? seek(file, ...rest) : NO_SEEK);
calls.fd_tell = (file, ...rest) => (file >= PREOPENED ? tell(file, ...rest) : NO_SEEK);
const opened = new Map([[PREOPENED, library]]);
calls.path_open = (folder, flags, path, length, ...rest) => {
    const error = open(folder, flags, path, length, ...rest);
    if (error === 0) {
        const name = Buffer.from(memory.buffer, path, length).toString();
        opened.set(view().getUint32(rest.at(-1), true), join(opened.get(folder), name));
    }
    return error;
};
const ENTRY = 24;
calls.fd_readdir = (folder, at, length, from, used) => {
    const found = fs.readdirSync(opened.get(folder), { withFileTypes: true });
    found.sort((a, b) => (a.name < b.name ? -1 : 1));
    const entries = found.slice(Number(from)).map((file, index) => {
        const name = Buffer.from(file.name);
        const entry = Buffer.alloc(ENTRY);
        entry.writeBigUInt64LE(from + BigInt(index) + 1n, 0);
        entry.writeBigUInt64LE(NUMBER, 8);
        entry.writeUInt32LE(name.length, 16);
        entry.writeUInt8(file.isDirectory() ? FOLDER : FILE, 20);
        return Buffer.concat([entry, name]);
    });
    // The last may be cut off, as if by a full buffer: it is asked for again.
    const shown = Buffer.concat(entries).subarray(0, length);
    new Uint8Array(memory.buffer).set(shown, at);
    view().setUint32(used, shown.length, true);
    return 0;
};
const { instance } = await WebAssembly.instantiate(bytes, imports);
memory = instance.exports.memory;
wasi.initialize(instance);
instance.exports.start();
const now = new Uint8Array(memory.buffer);

function unsigned(value) {
    const out = [];
    do {
        const more = value > 127;
        out.push((value & 127) | (more ? 128 : 0));
        value >>>= 7;
    } while (value > 0);
    return Buffer.from(out);
}

function signed(value) {
    const out = [];
    for (;;) {
        const low = value & 127;
        value >>= 7;
        const isLast = (value === 0 && !(low & 64)) || (value === -1 && !!(low & 64));
        out.push(isLast ? low : low | 128);
        if (isLast) return Buffer.from(out);
    }
}

function section(id, body) {
    return Buffer.concat([Buffer.from([id]), unsigned(body.length), body]);
}

// Stretches of memory that are not zero; a gap of less than this is not worth a segment of its own.
function segments() {
    const GAP = 64;
    const found = [];
    let start = -1;
    let last = -1;
    for (let at = 0; at < now.length; at++) {
        if (now[at] === 0) continue;
        if (start >= 0 && at - last > GAP) {
            found.push([start, last + 1]);
            start = at;
        }
        if (start < 0) start = at;
        last = at;
    }
    if (start >= 0) found.push([start, last + 1]);
    return found;
}

const MEMORY = 5;
const CUSTOM = 0;
const DATA = 11;
const pages = now.length / 65536;
const parts = [bytes.subarray(0, 8)];
for (let at = 8; at < bytes.length; ) {
    const begin = at;
    const id = bytes[at++];
    let length = 0;
    for (let shift = 0; ; shift += 7) {
        const byte = bytes[at++];
        length |= (byte & 127) << shift;
        if (!(byte & 128)) break;
    }
    at += length;
    if (id === MEMORY) {
        // One memory, without a most: the host says how large it may become.
        parts.push(section(MEMORY, Buffer.concat([Buffer.from([1, 0]), unsigned(pages)])));
    } else if (id !== DATA && id !== CUSTOM) {
        parts.push(bytes.subarray(begin, at));
    }
}
const data = segments().map(([from, to]) =>
    Buffer.concat([Buffer.from([0, 0x41]), signed(from), Buffer.from([0x0b]), unsigned(to - from), now.subarray(from, to)]),
);
parts.push(section(DATA, Buffer.concat([unsigned(data.length), ...data])));
fs.writeFileSync(started, Buffer.concat(parts));
console.log(`${pages} pages, ${data.length} segments`);
