// Starts the interpreter, and writes it down as it is then: `node snapshot.mjs PLAIN.wasm LIBRARY STARTED.wasm`.
//
// All that a start changes is the memory: tables and globals are as before. So the new module is the old one, with a memory
// that begins as large as it is now, and with what is in it now in the place of its data.
import fs from 'node:fs';
import { WASI } from 'node:wasi';

const [plain, library, started] = process.argv.slice(2);
const bytes = fs.readFileSync(plain);

const wasi = new WASI({ version: 'preview1', args: [], env: {}, preopens: { '/lib': library } });
const imports = wasi.getImportObject();
let memory;
// The same module from every start: no clock, and nothing random.
imports.wasi_snapshot_preview1.clock_time_get = (_clock, _precision, at) => {
    new DataView(memory.buffer).setBigUint64(at, 946684800000000000n, true);
    return 0;
};
imports.wasi_snapshot_preview1.random_get = (at, length) => {
    new Uint8Array(memory.buffer).fill(7, at, at + length);
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
