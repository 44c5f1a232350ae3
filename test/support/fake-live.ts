/**
 * Destinations without a network, for tests of the proxies: live services that connect to targets on this machine, and sites in memory.
 * They keep the contract of `LiveService` and `OpenedSite`; hooks make them slow, away or broken.
 */
import { connect } from 'node:net'
import { Duplex } from 'node:stream'
import type { Asking, ByteRange, LiveService, OpenedSite, SiteEntry, SiteLookup } from '../../client/library.ts'
import { toHex, utf8 } from '../../src/bytes/index.ts'
import { sha256 } from '../../src/crypto/hash.ts'
import { OverlayError } from '../../src/errors/index.ts'

/** Where a virtual port leads: a port of 127.0.0.1, or a stream made by the test. */
export type LiveTarget = number | (() => Duplex)

export class FakeLive implements LiveService {
  readonly ports: readonly number[]
  readonly #targets: ReadonlyMap<number, LiveTarget>
  /** Thrown by `connect`. */
  fail: Error | null = null
  /** Awaited by `connect`, which rejects when its signal aborts meanwhile. */
  before: () => Promise<void> = async () => {}
  /** Each `connect` so far. */
  readonly asked: { readonly port: number; readonly isolation: string }[] = []

  constructor(targets: Readonly<Record<number, LiveTarget>>) {
    this.#targets = new Map(Object.entries(targets).map(([port, target]) => [Number(port), target]))
    this.ports = [...this.#targets.keys()]
  }

  async connect(port: number, { signal, isolation = '', trace }: Asking): Promise<Duplex> {
    signal.throwIfAborted()
    this.asked.push({ port, isolation })
    const over = trace?.stage('introduction')
    const { promise: aborted, reject } = Promise.withResolvers<never>()
    aborted.catch(() => {})
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.before(), aborted])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
    over?.()
    if (this.fail !== null) throw this.fail
    const target = this.#targets.get(port)
    if (target === undefined) throw new OverlayError('unreachable', 'SERVICE_REFUSED', 'The service does not offer this port.')
    return typeof target === 'number' ? streamTo(target) : target()
  }
}

/** A stream to a port of this machine that is not a socket, as a real service's is not. */
function streamTo(port: number): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>()
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true })
  socket.once('error', () => reject(new OverlayError('unreachable', 'SERVICE_REFUSED', 'The target does not answer.')))
  socket.once('connect', () => {
    socket.removeAllListeners('error')
    let waiting: ((error?: Error | null) => void) | null = null
    const stream: Duplex = new Duplex({
      allowHalfOpen: true,
      read: () => void socket.resume(),
      write(chunk: Buffer, _encoding, done) {
        if (socket.write(chunk)) done()
        else waiting = done
      },
      final: (done) => void socket.end(() => done()),
      destroy(error, done) {
        socket.destroy()
        done(error)
      },
    })
    socket.on('drain', () => {
      waiting?.()
      waiting = null
    })
    socket.on('data', (chunk: Buffer) => {
      if (!stream.push(chunk)) socket.pause()
    })
    socket.on('end', () => stream.push(null))
    socket.on('error', (error) => stream.destroy(error))
    socket.on('close', () => {
      if (!stream.readableEnded && !socket.readableEnded) stream.destroy(new Error('broken off'))
    })
    socket.pause()
    resolve(stream)
  })
  return promise
}

const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript',
  json: 'application/json',
  txt: 'text/plain; charset=utf-8',
}

/** A site of these files, by path. */
export function fakeSite(files: Readonly<Record<string, string | Uint8Array>>, version = 1): OpenedSite {
  const entries = new Map(Object.entries(files).map(([path, content]) => [path, entryOf(path, content)]))
  return {
    address: 'a'.repeat(56),
    version,
    bytes: [...entries.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    files: entries.size,
    lookUp(path): SiteLookup {
      const name = path.slice(1)
      const entry = entries.get(name === '' || name.endsWith('/') ? `${name}index.html` : name)
      if (entry !== undefined) return { kind: 'entry', entry }
      if (entries.has(`${name}/index.html`)) return { kind: 'redirect', location: `${path}/` }
      return { kind: 'missing', page: entries.get('404.html') ?? null }
    },
  }
}

function entryOf(path: string, content: string | Uint8Array): SiteEntry {
  const bytes = typeof content === 'string' ? utf8(content) : content
  return {
    path,
    bytes: bytes.length,
    plainBytes: bytes.length,
    contentType: TYPES[path.split('.').at(-1) ?? ''] ?? 'application/octet-stream',
    encoding: 'identity',
    etag: `"${toHex(sha256(bytes)).slice(0, 32)}"`,
    read: ({ start, end }: ByteRange) => {
      const chunks = (async function* () {
        for (let at = start; at < end; at += 50_000) yield bytes.slice(at, Math.min(end, at + 50_000))
      })()
      return { counters: { asked: 0, received: 0, bad: 0 }, [Symbol.asyncIterator]: () => chunks }
    },
  }
}
