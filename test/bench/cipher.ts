/**
 * What the cell cipher costs: µs per cell for both implementations, one cell at a time and in batches of 8 and 32, for cells of 1024,
 * 2048 and 4096 bytes; garbage per cell; memory per key; and, since every stranger may ask for it, the proof of work's check.
 * `node test/bench/cipher.ts` prints tables; `--json` one line. Best of several rounds: other load on the machine only adds.
 */
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { CELL_HEADER_BYTES } from '../../src/cell/index.ts'
import { CELL_DOMAIN, type CellCipher, CIPHER_BATCH_MAX, findWork, openCellCipher, verifyWork } from '../../src/crypto/index.ts'
import { systemClock, systemRng } from '../../src/runtime/index.ts'

const CELL_LENGTHS = [1024, 2048, 4096] as const
const BATCHES = [1, 8, 32] as const
const ROUNDS = 7
const CELLS_PER_ROUND = 8192
const KEYS = 5000
const WORK_BITS = 16

interface CipherFigures {
  readonly implementation: CellCipher['implementation']
  readonly cellBytes: number
  /** µs per cell for each of `BATCHES`. */
  readonly microseconds: readonly number[]
  readonly garbageBytesPerCell: number
}

interface KeyFigures {
  readonly implementation: CellCipher['implementation']
  /** Resident bytes per key: made, used in one direction, used in both. */
  readonly made: number
  readonly oneWay: number
  readonly bothWays: number
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function measureCipher(cipher: CellCipher, cellBytes: number): CipherFigures {
  const key = cipher.key(systemRng.bytes(32))
  const cells = systemRng.bytes(CIPHER_BATCH_MAX * cellBytes)
  const offsets = Int32Array.from({ length: CIPHER_BATCH_MAX }, (_, at) => at * cellBytes + CELL_HEADER_BYTES)
  const counters = Uint32Array.from({ length: CIPHER_BATCH_MAX }, (_, at) => at)
  const round = (batch: number) => {
    for (let done = 0; done < CELLS_PER_ROUND; done += batch) key.decipher(cells, offsets, counters, batch, CELL_DOMAIN)
  }
  const microseconds = BATCHES.map((batch) => {
    let best = Number.POSITIVE_INFINITY
    for (let at = 0; at < ROUNDS; at++) {
      const start = process.hrtime.bigint()
      round(batch)
      best = Math.min(best, Number(process.hrtime.bigint() - start))
    }
    return best / 1000 / CELLS_PER_ROUND
  })
  collect()
  const before = process.memoryUsage().heapUsed
  for (let done = 0; done < 1024; done += 32) key.decipher(cells, offsets, counters, 32, CELL_DOMAIN)
  const garbageBytesPerCell = (process.memoryUsage().heapUsed - before) / 1024
  key.wipe()
  return { implementation: cipher.implementation, cellBytes, microseconds, garbageBytesPerCell }
}

/** In a fresh process: memory that earlier work left free would hide what keys take. */
function measureKeys(cipher: CellCipher): KeyFigures {
  const resident = () => {
    collect()
    return process.memoryUsage.rss()
  }
  const body = new Uint8Array(2043)
  const offsets = new Int32Array(1)
  const counters = new Uint32Array(1)
  const start = resident()
  const keys = Array.from({ length: KEYS }, () => cipher.key(systemRng.bytes(32)))
  const made = resident()
  for (const key of keys) key.decipher(body, offsets, counters, 1, CELL_DOMAIN)
  const oneWay = resident()
  for (const key of keys) key.encipher(body, offsets, counters, 1, CELL_DOMAIN)
  const bothWays = resident()
  for (const key of keys) key.wipe()
  const each = (to: number) => Math.round((to - start) / KEYS)
  return { implementation: cipher.implementation, made: each(made), oneWay: each(oneWay), bothWays: each(bothWays) }
}

async function measureWork(): Promise<{ readonly verifyMicroseconds: number; readonly hashesPerSecond: number }> {
  const waiting = { clock: systemClock, signal: new AbortController().signal }
  const binding = systemRng.bytes(96)
  let best = Number.POSITIVE_INFINITY
  for (let at = 0; at < ROUNDS; at++) {
    const nonce = systemRng.bytes(8)
    const start = process.hrtime.bigint()
    for (let done = 0; done < 2000; done++) verifyWork('bench', binding, nonce, WORK_BITS)
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 2000)
  }
  const tried = 1 << 18
  const start = process.hrtime.bigint()
  await findWork('bench', binding, 32, { ...waiting, budgetHashes: tried }).catch(() => undefined)
  return { verifyMicroseconds: best / 1000, hashesPerSecond: tried / (Number(process.hrtime.bigint() - start) / 1e9) }
}

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false }, keys: { type: 'string' } } })
if (values.keys !== undefined) {
  const cipher = await openCellCipher(values.keys === 'sodium-native' ? 'sodium-native' : 'libsodium-wasm')
  console.log(JSON.stringify(measureKeys(cipher)))
  process.exit(0)
}
const ciphers: CipherFigures[] = []
const keys: KeyFigures[] = []
for (const implementation of ['sodium-native', 'libsodium-wasm'] as const) {
  const usual = await openCellCipher(implementation)
  if (usual.implementation !== implementation) continue
  for (const cellBytes of CELL_LENGTHS) {
    ciphers.push(measureCipher(await openCellCipher(implementation, cellBytes - CELL_HEADER_BYTES), cellBytes))
  }
  const child = spawnSync(process.execPath, [import.meta.filename, '--keys', implementation], { encoding: 'utf8' })
  if (child.status !== 0) throw new Error(child.stderr)
  keys.push(JSON.parse(child.stdout) as KeyFigures)
}
const work = await measureWork()

if (values.json) {
  console.log(JSON.stringify({ node: process.version, batches: BATCHES, ciphers, keys, work }))
} else {
  console.log(`Cell cipher, Node ${process.version}, one thread, best of ${ROUNDS} rounds\n`)
  console.log('| implementation | cell bytes | µs single | µs in 8 | µs in 32 | ns/byte in 32 | MB/s in 32 | garbage B/cell |')
  console.log('| --- | --- | --- | --- | --- | --- | --- | --- |')
  for (const { implementation, cellBytes, microseconds, garbageBytesPerCell } of ciphers) {
    const last = microseconds.at(-1)!
    const rates = `${((1000 * last) / cellBytes).toFixed(2)} | ${(cellBytes / last).toFixed(0)}`
    const times = microseconds.map((time) => time.toFixed(2)).join(' | ')
    console.log(`| ${implementation} | ${cellBytes} | ${times} | ${rates} | ${garbageBytesPerCell.toFixed(0)} |`)
  }
  const of = (name: string) => ciphers.filter(({ implementation }) => implementation === name)
  of('libsodium-wasm').forEach(({ cellBytes, microseconds }, at) => {
    const native = of('sodium-native')[at]
    if (native === undefined) return
    const ratios = microseconds.map((time, batch) => (time / native.microseconds[batch]!).toFixed(2)).join(' | ')
    console.log(`| ratio wasm / native | ${cellBytes} | ${ratios} | | | |`)
  })
  console.log('\n| implementation | bytes per key, made | used one way | used both ways |\n| --- | --- | --- | --- |')
  for (const { implementation, made, oneWay, bothWays } of keys)
    console.log(`| ${implementation} | ${made} | ${oneWay} | ${bothWays} |`)
  console.log(
    `\nProof of work: check ${work.verifyMicroseconds.toFixed(1)} µs, search ${(work.hashesPerSecond / 1e6).toFixed(2)} million hashes/s`,
  )
}
