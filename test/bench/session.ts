/**
 * `node --expose-gc test/bench/session.ts [--json]`: what a session costs without a network: both ends in one process, payloads handed from
 * one to the other by way of two queues, as many one way as the other. And the AEAD that every payload goes through, at each engine.
 */
import { createCipheriv } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type AeadEngine, nativeAead, portableAead } from '../../src/crypto/index.ts'
import { systemClock } from '../../src/runtime/index.ts'
import { Session, type SessionStream } from '../../src/service/index.ts'
import { type ExchangePort, PAYLOAD_BYTES, Pairing } from '../../src/stream/index.ts'

const PLAIN_BYTES = 1960
const ROUNDS = 5
const TURN_PAYLOADS = 32

/** Best time of one call, in microseconds. */
function best(calls: number, call: () => void): number {
  let shortest = Number.POSITIVE_INFINITY
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let done = 0; done < calls; done++) call()
    shortest = Math.min(shortest, Number(process.hrtime.bigint() - start) / 1000 / calls)
  }
  return shortest
}

interface AeadFigures {
  readonly engine: string
  readonly sealMicroseconds: number
  readonly openMicroseconds: number
}

function measureAead(): AeadFigures[] {
  const [key, nonce, message] = [new Uint8Array(32).fill(1), new Uint8Array(12), new Uint8Array(PLAIN_BYTES)]
  const sealed = new Uint8Array(PLAIN_BYTES + 16)
  const engines: (AeadEngine | null)[] = [nativeAead(), portableAead]
  const figures: AeadFigures[] = []
  for (const engine of engines) {
    if (engine === null) continue
    const sealMicroseconds = best(20_000, () => engine.seal(sealed, message, null, nonce, key))
    const openMicroseconds = best(20_000, () => engine.open(message, sealed, null, nonce, key))
    figures.push({ engine: engine.implementation, sealMicroseconds, openMicroseconds })
  }
  const node = best(20_000, () => {
    const cipher = createCipheriv('chacha20-poly1305', key, nonce, { authTagLength: 16 })
    cipher.update(message)
    cipher.final()
    cipher.getAuthTag()
  })
  figures.push({ engine: 'node:crypto', sealMicroseconds: node, openMicroseconds: Number.NaN })
  return figures
}

/** Both ends joined in this process: payloads move in turns, a bounded number in each. */
class DirectPort implements ExchangePort {
  readonly loop = 0
  readonly waiting = 0
  readonly pairing: Pairing
  other: DirectPort | null = null
  readonly #queue: Uint8Array[] = []
  readonly #spare: Uint8Array[] = []
  #due = false
  #over = false
  constructor(end: ConstructorParameters<typeof Pairing>[0]) {
    this.pairing = new Pairing(end, systemClock)
  }

  wake(): void {
    if (this.#due || this.#over) return
    this.#due = true
    systemClock.nextTurn(() => {
      this.#due = false
      this.#move()
    })
  }

  close(): void {
    this.#over = true
  }

  #move(): void {
    const { other } = this
    if (other === null || this.#over) return
    let moved = 0
    for (; moved < TURN_PAYLOADS && this.pairing.due; moved++) {
      const payload = other.#spare.pop() ?? new Uint8Array(PAYLOAD_BYTES)
      this.pairing.take(payload, 0)
      other.#queue.push(payload)
    }
    if (moved > 0) other.wake()
    for (moved = 0; moved < TURN_PAYLOADS && this.#queue.length > 0; moved++) {
      const payload = this.#queue.shift()!
      this.pairing.onPayload(payload, 0)
      this.#spare.push(payload)
    }
    if (moved > 0) this.wake()
  }
}

export interface SessionFigure {
  readonly streams: number
  readonly megabytesPerSec: number
  /** Both ends. */
  readonly cpuSecondsPerGiB: number
  readonly payloads: number
}

/** Moves `bytes` from client to service over `streams` streams at once. */
async function measureSession(bytes: number, streams: number): Promise<SessionFigure> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const ticket = () => ({ id: new Uint8Array(16), secret: new Uint8Array(32) })
  const keys = () => ({ toService: new Uint8Array(32).fill(1), toClient: new Uint8Array(32).fill(2) })
  const each = Math.floor(bytes / streams)
  let ended = 0
  const onEnd = (reason: string) => reject(new Error(`the session ended: ${reason}`))
  const service = new Session({
    role: 'service',
    ticket: ticket(),
    clock: systemClock,
    events: {
      onOpen(stream) {
        stream.accept()
        return {
          onData: (_bytes, _at, length) => stream.consumed(length),
          onFin() {
            stream.end()
            if (++ended === streams) resolve()
          },
          onDrain() {},
          onClose() {},
        }
      },
      onDetached: () => {},
      onEnd,
    },
  })
  const client = new Session({ role: 'client', ticket: ticket(), clock: systemClock, events: { onDetached: () => {}, onEnd } })
  const [up, down] = [client.prepare(keys()), service.prepare(keys())]
  const [clientPort, servicePort] = [new DirectPort(up), new DirectPort(down)]
  clientPort.other = servicePort
  servicePort.other = clientPort
  const chunk = new Uint8Array(64 * 1024).fill(5)
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (let at = 0; at < streams; at++) {
    let left = each
    const write = (stream: SessionStream): void => {
      while (left > 0) {
        const piece = left < chunk.length ? chunk.subarray(0, left) : chunk
        left -= piece.length
        if (!stream.write(piece)) return
      }
      stream.end()
    }
    const stream: SessionStream | null = client.open(80, {
      onData: () => {},
      onFin: () => {},
      onDrain: () => write(stream!),
      onClose: () => {},
    })
    write(stream!)
  }
  up.attach(clientPort)
  down.attach(servicePort)
  await promise
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const { sent } = client.figures
  clientPort.close()
  servicePort.close()
  return {
    streams,
    megabytesPerSec: (each * streams) / 1e6 / seconds,
    cpuSecondsPerGiB: ((user + system) / 1e6) * (2 ** 30 / (each * streams)),
    payloads: sent,
  }
}

const { values } = parseArgs({ options: { json: { type: 'boolean', default: false } } })
const aead = measureAead()
const sessions: SessionFigure[] = []
for (const streams of [1, 16, 200]) {
  await measureSession(32 * 2 ** 20, streams)
  sessions.push(await measureSession(256 * 2 ** 20, streams))
}

if (values.json) console.log(JSON.stringify({ node: process.version, aead, sessions }))
else {
  console.log(`AEAD of one payload (${PLAIN_BYTES} bytes), one thread, best of ${ROUNDS} rounds\n`)
  console.log('| engine | µs to seal | µs to open |\n| --- | --- | --- |')
  for (const { engine, sealMicroseconds, openMicroseconds } of aead) {
    const open = Number.isNaN(openMicroseconds) ? '–' : openMicroseconds.toFixed(2)
    console.log(`| ${engine} | ${sealMicroseconds.toFixed(2)} | ${open} |`)
  }
  console.log('\nSession, both ends in one process, one way, acknowledgements and dummies the other\n')
  console.log('| streams | MB/s | CPU-s/GiB, both ends | payloads each way |\n| --- | --- | --- | --- |')
  for (const { streams, megabytesPerSec, cpuSecondsPerGiB, payloads } of sessions) {
    console.log(`| ${streams} | ${megabytesPerSec.toFixed(0)} | ${cpuSecondsPerGiB.toFixed(1)} | ${payloads} |`)
  }
}
