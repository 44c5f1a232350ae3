/**
 * Which engine keeps the shares: the measurement behind the store's construction. Each candidate runs in a process of its own and
 * does the same work: hash each 64 KiB share (as the store must), put it durably (acknowledged = survives `kill -9`), then read
 * random ones back and verify them. Because cells are relayed on the same event loop, the figure that decides beside CPU is how
 * late a 1 ms timer fires meanwhile. `node test/bench/store.ts [--mib N] [engine…]` prints a table; `--json` one line per engine.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { open as openFile, readFile, rename } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { open as openLmdb } from 'lmdb'
import { openStore } from '../../relay/store/index.ts'
import { equalPublic, toHex, type UnixMs, writeU32 } from '../../src/bytes/index.ts'
import { shareAddress } from '../../src/content/share.ts'
import { systemClock } from '../../src/runtime/index.ts'

const SHARE_BYTES = 65536
/** Puts in flight: what a node with many loops would have. */
const IN_FLIGHT = 16
const MIB = 1024 * 1024
const GIB = 1024 * MIB

interface Engine {
  /** Computes and verifies addresses itself; for the others the bench does. */
  readonly hashes?: true
  put(address: Uint8Array, share: Uint8Array): Promise<void>
  get(address: Uint8Array): Promise<Uint8Array | null>
  close(): Promise<void>
}

interface Figures {
  readonly engine: string
  readonly putMBs: number
  readonly putCpuPerGiB: number
  readonly putLagMs: readonly [p50: number, p99: number, max: number]
  readonly getMBs: number
  readonly getCpuPerGiB: number
  readonly getLagMs: readonly [p50: number, p99: number, max: number]
  readonly rssMiB: number
}

/** The values in the database itself. */
function lmdbWhole(dir: string, overlappingSync: boolean): Engine {
  const db = openLmdb<Uint8Array, Uint8Array>({
    path: join(dir, 'db'),
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync,
    ...(overlappingSync ? {} : { noSync: true }),
  })
  return {
    put: async (address, share) => void (await db.put(address, share)),
    get: async (address) => db.getBinary(address) ?? null,
    close: () => db.close(),
  }
}

/** Built into Node, synchronous. `synchronous = NORMAL` with a WAL survives `kill -9`. */
function sqlite(dir: string): Engine {
  const db = new DatabaseSync(join(dir, 'db.sqlite'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA page_size = 65536')
  db.exec('CREATE TABLE share (address BLOB PRIMARY KEY, value BLOB NOT NULL)')
  const put = db.prepare('INSERT OR IGNORE INTO share VALUES (?, ?)')
  const get = db.prepare('SELECT value FROM share WHERE address = ?')
  let queue: (() => void)[] = []
  const flush = () => {
    const batch = queue
    queue = []
    db.exec('BEGIN')
    for (const run of batch) run()
    db.exec('COMMIT')
  }
  return {
    put: (address, share) => {
      const { promise, resolve } = Promise.withResolvers<void>()
      if (queue.length === 0) setImmediate(flush)
      queue.push(() => {
        put.run(address, share)
        resolve()
      })
      return promise
    },
    get: async (address) => (get.get(address)?.value as Uint8Array | undefined) ?? null,
    close: async () => db.close(),
  }
}

/** One file for each share, written aside, flushed or not, and renamed; the index would come on top. */
function files(dir: string, flush: boolean): Engine {
  for (let top = 0; top < 256; top++) mkdirSync(join(dir, top.toString(16).padStart(2, '0')))
  const pathOf = (address: Uint8Array) => {
    const name = toHex(address)
    return join(dir, name.slice(0, 2), name)
  }
  return {
    put: async (address, share) => {
      const path = pathOf(address)
      const file = await openFile(`${path}.new`, 'w')
      await file.write(share)
      if (flush) await file.datasync()
      await file.close()
      await rename(`${path}.new`, path)
    },
    get: (address) => readFile(pathOf(address)).catch(() => null),
    close: async () => {},
  }
}

/** One big file of equal places for the shares; LMDB says which share lies in which place, committing once a turn on the main thread. */
async function places(dir: string, overlappingSync: boolean): Promise<Engine> {
  const file = await openFile(join(dir, 'shares'), 'w+')
  const db = openLmdb<Uint8Array, Uint8Array>({
    path: join(dir, 'db'),
    encoding: 'binary',
    keyEncoding: 'binary',
    overlappingSync,
  })
  let next = 0
  let waiting: { address: Uint8Array; entry: Uint8Array; done: () => void }[] = []
  const commit = () => {
    const batch = waiting
    waiting = []
    db.transactionSync(() => {
      for (const { address, entry } of batch) db.put(address, entry)
    })
    for (const { done } of batch) done()
  }
  return {
    put: async (address, share) => {
      const place = next++
      const entry = new Uint8Array(12)
      writeU32(entry, 0, place)
      await file.write(share, 0, SHARE_BYTES, place * SHARE_BYTES)
      const { promise, resolve } = Promise.withResolvers<void>()
      if (waiting.length === 0) setImmediate(commit)
      waiting.push({ address, entry, done: resolve })
      await promise
    },
    get: async (address) => {
      const entry = db.getBinary(address)
      if (entry === undefined) return null
      const share = new Uint8Array(SHARE_BYTES)
      await file.read(share, 0, SHARE_BYTES, entry.readUInt32LE(0) * SHARE_BYTES)
      return share
    },
    close: async () => {
      await db.close()
      await file.close()
    },
  }
}

/** What this code base uses: places in one file, an index file of fixed entries, quota, expiry and verification included. */
async function chosen(dir: string): Promise<Engine> {
  const store = await openStore({ dir, quotaBytes: 64 * GIB, clock: systemClock, log: { warn: () => {} } })
  const until = (systemClock.unixMs() + 3_600_000) as UnixMs
  return {
    hashes: true,
    put: async (_address, share) => {
      const verdict = await store.putShare(share, until)
      if (verdict !== 'stored') throw new Error(verdict)
    },
    get: (address) => store.getShare(address),
    close: () => store.close(),
  }
}

const ENGINES: Readonly<Record<string, (dir: string) => Engine | Promise<Engine>>> = {
  'lmdb, values inside': (dir) => lmdbWhole(dir, true),
  'lmdb, values inside, never flushed': (dir) => lmdbWhole(dir, false),
  'node:sqlite, WAL': sqlite,
  'file each, fsync and rename': (dir) => files(dir, true),
  'file each, rename': (dir) => files(dir, false),
  'places in one file, lmdb index': (dir) => places(dir, true),
  'places in one file, index file (chosen)': chosen,
}

/** How late a 1 ms timer fires, while `run` goes on. */
async function withLag(run: () => Promise<void>): Promise<readonly [number, number, number]> {
  const lags: number[] = []
  let last = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    lags.push(now - last - 1)
    last = now
  }, 1)
  await run()
  clearInterval(timer)
  lags.sort((a, b) => a - b)
  const at = (part: number) => Math.max(0, lags[Math.min(lags.length - 1, Math.floor(part * lags.length))] ?? 0)
  return [at(0.5), at(0.99), at(1)]
}

/** `IN_FLIGHT` workers over `count` numbers. */
async function inParallel(count: number, work: (at: number) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    for (let at = next++; at < count; at = next++) await work(at)
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
}

async function measure(name: string, mib: number): Promise<Figures> {
  const dir = mkdtempSync(join(tmpdir(), 'gyre-bench-store-'))
  try {
    const engine = await ENGINES[name]!(dir)
    const count = (mib * MIB) / SHARE_BYTES
    const filler = new Uint8Array(SHARE_BYTES).map((_, at) => Math.imul(at, 2654435761) >>> 13)
    const shareOf = (at: number) => {
      const share = new Uint8Array(filler)
      writeU32(share, 0, at)
      return share
    }
    const addresses = Array.from({ length: count }, (_, at) => shareAddress(shareOf(at)))
    const phase = async (work: (at: number) => Promise<void>) => {
      const cpu = process.cpuUsage()
      const from = performance.now()
      const lag = await withLag(() => inParallel(count, work))
      const seconds = (performance.now() - from) / 1000
      const used = process.cpuUsage(cpu)
      return { lag, MBs: (count * SHARE_BYTES) / 1e6 / seconds, cpu: ((used.user + used.system) / 1e6) * (GIB / (mib * MIB)) }
    }
    const put = await phase(async (at) => {
      const share = shareOf(at)
      await engine.put(engine.hashes ? addresses[at]! : shareAddress(share), share)
    })
    const get = await phase(async (at) => {
      const address = addresses[(Math.imul(at, 7919) >>> 0) % count]!
      await nextTurn() // a synchronous engine gets no chance to starve the timer: requests come from the network
      const share = await engine.get(address)
      if (share === null || (!engine.hashes && !equalPublic(shareAddress(share), address)))
        throw new Error(`${name} lost a share`)
    })
    const rssMiB = process.memoryUsage.rss() / MIB
    await engine.close()
    return {
      engine: name,
      putMBs: put.MBs,
      putCpuPerGiB: put.cpu,
      putLagMs: put.lag,
      getMBs: get.MBs,
      getCpuPerGiB: get.cpu,
      getLagMs: get.lag,
      rssMiB,
    }
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const { values, positionals } = parseArgs({
  options: { mib: { type: 'string', default: '300' }, json: { type: 'boolean', default: false }, one: { type: 'string' } },
  allowPositionals: true,
})
const mib = Number(values.mib)
if (values.one !== undefined) {
  console.log(JSON.stringify(await measure(values.one, mib)))
} else {
  const wanted = Object.keys(ENGINES).filter(
    (name) => positionals.length === 0 || positionals.some((part) => name.includes(part)),
  )
  if (!values.json) {
    console.log(`Store engines: ${mib} MiB of 64 KiB shares, ${IN_FLIGHT} in flight, hashing included\n`)
    console.log('| engine | put MB/s | CPU-s/GiB | timer late p50/p99/max ms | get MB/s | CPU-s/GiB | timer late ms | RSS MiB |')
    console.log('| --- | --- | --- | --- | --- | --- | --- | --- |')
  }
  for (const name of wanted) {
    const child = spawnSync(process.execPath, [import.meta.filename, '--one', name, '--mib', String(mib)], { encoding: 'utf8' })
    if (child.status !== 0) throw new Error(`${name}: ${child.stderr}`)
    if (values.json) console.log(child.stdout.trim())
    else {
      const f = JSON.parse(child.stdout) as Figures
      const lag = (of: readonly number[]) => of.map((ms) => ms.toFixed(1)).join(' / ')
      console.log(
        `| ${f.engine} | ${f.putMBs.toFixed(0)} | ${f.putCpuPerGiB.toFixed(2)} | ${lag(f.putLagMs)} | ${f.getMBs.toFixed(0)} | ${f.getCpuPerGiB.toFixed(2)} | ${lag(f.getLagMs)} | ${f.rssMiB.toFixed(0)} |`,
      )
    }
  }
}
