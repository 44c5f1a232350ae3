/** Two ends of a session on a fake clock, joined by exchanges that may fail, and streams whose every byte is known. */
import {
  type PreparedExchange,
  Session,
  type SessionStream,
  type SessionStreamEvents,
  type StreamReset,
} from '../../src/service/index.ts'
import { ExchangePipe, type PipeOptions } from './exchange-pipe.ts'
import { FakeClock } from './fake-clock.ts'
import { type SeededRng, seededRng } from './seeded-rng.ts'

/** Byte `offset` of every stream in a test: wrong order, gaps and repeats show. */
export function byteAt(stream: number, offset: number): number {
  return (offset * 13 + (offset >> 8) * 5 + stream * 101) & 255
}

export function spanOf(stream: number, from: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => byteAt(stream, from + at))
}

/** What one end of a stream heard, checked byte by byte. */
export class Ear implements SessionStreamEvents {
  stream: SessionStream | null = null
  opened = 0
  received = 0
  wrong = 0
  fins = 0
  drains = 0
  /** Codes of `onClose`. */
  readonly closed: (number | null)[] = []
  /** Bytes not yet reported as consumed. */
  unread = 0
  reading = true
  onMore: (ear: Ear) => void = () => {}
  readonly #pattern: number

  /** `pattern`: which stream's bytes are expected. */
  constructor(pattern: number) {
    this.#pattern = pattern
  }

  onOpened(): void {
    this.opened++
  }

  onData(bytes: Uint8Array, at: number, length: number): void {
    if (this.fins > 0 || this.closed.length > 0) this.wrong++
    for (let byte = 0; byte < length; byte++) {
      if (bytes[at + byte] !== byteAt(this.#pattern, this.received + byte)) this.wrong++
    }
    this.received += length
    this.unread += length
    if (this.reading) this.read()
  }

  onFin(): void {
    this.fins++
  }

  onDrain(): void {
    this.drains++
    this.onMore(this)
  }

  onClose(code: number | null): void {
    this.closed.push(code)
  }

  read(): void {
    const { unread } = this
    this.unread = 0
    this.stream?.consumed(unread)
  }

  /** Writes `bytes` of the pattern in pieces of up to `piece`, as the stream lets, then ends. */
  send(bytes: number, piece: number): void {
    let written = 0
    this.onMore = () => {
      while (written < bytes) {
        const length = Math.min(piece, bytes - written)
        const chunk = spanOf(this.#pattern, written, length)
        written += length
        if (!this.stream!.write(chunk)) return
      }
      this.stream!.end()
    }
    this.onMore(this)
  }
}

export interface PairOptions extends Omit<PipeOptions, 'clock' | 'rng'> {
  readonly seed?: number | string
  /** What the service does with a stream. Default: accepts, and sends nothing. */
  readonly onOpen?: (stream: SessionStream, ear: Ear) => StreamReset | undefined
}

export class SessionPair {
  readonly clock = new FakeClock()
  readonly rng: SeededRng
  readonly client: Session
  readonly service: Session
  readonly log: string[] = []
  /** The service's ears, by stream id. */
  readonly heard = new Map<number, Ear>()
  readonly #options: PairOptions
  pipe: ExchangePipe | null = null
  #exchanges = 0

  constructor(options: PairOptions = {}) {
    this.#options = options
    this.rng = seededRng(options.seed ?? 1)
    const ticket = () => ({ id: new Uint8Array(16).fill(4), secret: new Uint8Array(32).fill(5) })
    const events = (name: string) => ({
      onQuiet: () => void this.log.push(`${name} quiet`),
      onDetached: (reason: string) => void this.log.push(`${name} detached ${reason}`),
      onEnd: (reason: string) => void this.log.push(`${name} ended ${reason}`),
    })
    this.client = new Session({ role: 'client', ticket: ticket(), clock: this.clock, events: events('client') })
    this.service = new Session({
      role: 'service',
      ticket: ticket(),
      clock: this.clock,
      events: {
        ...events('service'),
        onOpen: (stream) => {
          const ear = new Ear(stream.id)
          ear.stream = stream
          this.heard.set(stream.id, ear)
          const verdict = this.#options.onOpen?.(stream, ear)
          if (verdict !== undefined) return verdict
          stream.accept()
          return ear
        },
      },
    })
  }

  /** Keys of a new exchange, never used before. */
  prepare(): readonly [PreparedExchange, PreparedExchange] {
    this.#exchanges++
    const keys = () => ({
      toService: new Uint8Array(32).fill(this.#exchanges),
      toClient: new Uint8Array(32).fill(100 + this.#exchanges),
    })
    return [this.client.prepare(keys()), this.service.prepare(keys())]
  }

  /** Brings a new exchange. */
  join(options: Partial<PipeOptions> = {}): ExchangePipe {
    const [client, service] = this.prepare()
    this.pipe = new ExchangePipe({ clock: this.clock, rng: this.rng, ...this.#options, ...options }, client, service)
    return this.pipe
  }

  /** Opens a stream at the client. */
  open(port = 80): Ear {
    const ear = new Ear(0)
    const stream = this.client.open(port, ear)
    if (stream === null) throw new Error('no stream')
    const named = Object.assign(new Ear(stream.id), { stream })
    // The pattern goes by id, which is known only now.
    for (const name of ['onOpened', 'onData', 'onFin', 'onDrain', 'onClose'] as const) {
      Object.assign(ear, { [name]: (...args: never[]) => (named[name] as (...heard: never[]) => void)(...args) })
    }
    return named
  }

  /** Moves on until `done` or `withinMs` has passed. */
  until(done: () => boolean, withinMs: number): boolean {
    for (let passed = 0; passed < withinMs && !done(); passed++) this.clock.advanceNow(1)
    return done()
  }
}
