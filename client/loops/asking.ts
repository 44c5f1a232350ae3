/**
 * Requests and answers over the streams with each hop of one loop: what loops of all clocks share. It knows streams and promises, and nothing
 * of when cells go. Spec: SPEC.md §5.3.
 */
import type { Pieces } from '../../src/bytes/index.ts'
import { isOverlayError, OverlayError } from '../../src/errors/index.ts'
import { MessageReader, type MuxOptions, type MuxStream, ResetCode, StreamMux, sendMessage } from '../../src/stream/index.ts'
import { encodeHopRequest, parseHopReply } from '../../src/wire/index.ts'
import type { AskOptions } from './loop.ts'

export interface HopAsksParts {
  /** Other members of the loop. */
  readonly hops: number
  /** Some hop has something to send that was not there before. */
  wake(): void
  readonly lossy?: MuxOptions['lossy']
}

export class HopAsks {
  readonly #parts: HopAsksParts
  /** Streams by hop, 1 … hops, then those with this node itself; index 0 is never used. */
  readonly #muxes: (StreamMux | undefined)[]
  #impatient = 0
  #over = false

  constructor(parts: HopAsksParts) {
    this.#parts = parts
    this.#muxes = new Array(parts.hops + 2)
  }

  /** Requests without a complete answer yet. */
  get open(): number {
    let streams = 0
    for (const mux of this.#muxes) streams += mux?.openStreams ?? 0
    return streams
  }

  /** Requests under way that are not patient. */
  get impatient(): number {
    return this.#impatient
  }

  /** Streams with `hop`, if there were any so far. */
  at(hop: number): StreamMux | undefined {
    return this.#muxes[hop]
  }

  mux(hop: number): StreamMux {
    let mux = this.#muxes[hop]
    if (mux === undefined) {
      const { wake, lossy } = this.#parts
      mux = new StreamMux({ role: 'origin', wake, ...(lossy === undefined ? {} : { lossy }) })
      this.#muxes[hop] = mux
    }
    return mux
  }

  /** See `Loop.ask`. `hop`: 1 … hops, or one more for this node itself. */
  async ask(hop: number, request: Pieces, { signal, patient = false }: AskOptions): Promise<Uint8Array> {
    signal.throwIfAborted()
    if (this.#over) throw ended()
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    let stream: MuxStream | null = null
    const reader = new MessageReader({ onMessage: resolve, onFail: (code) => reject(failure(code)) })
    stream = this.mux(hop).open(reader)
    if (stream === null) throw new OverlayError('overload', 'CIRCUIT_ENDED', 'Too many requests on one loop.')
    reader.stream = stream
    const held = stream
    const onAbort = () => {
      held.reset(ResetCode.CANCELLED)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    if (!patient) this.#impatient++
    try {
      sendMessage(stream, request)
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      if (!patient) this.#impatient--
      // A hop that answers before it has the whole request: what is left must not be sent, its memory is the caller's again.
      if (held.queuedBytes > 0) held.reset(ResetCode.CANCELLED)
    }
  }

  /** Asks `hop` to join this loop's exchange with the one that shows `cookie`. Errors: `RENDEZVOUS_REFUSED`, those of `ask`. */
  async join(hop: number, cookie: Uint8Array, { signal }: { signal: AbortSignal }, exchange = 0): Promise<void> {
    const request = encodeHopRequest({ kind: 'join', cookie, exchange })
    // A hop to which the request did come says again what it said.
    const reply = parseHopReply(await askAgain(() => this.ask(hop, request, { signal })))
    if (reply?.status !== 'ok') {
      throw new OverlayError('overload', 'RENDEZVOUS_REFUSED', `The rendezvous point says: ${reply?.status ?? 'nonsense'}.`)
    }
    signal.throwIfAborted()
  }

  /** Ends all streams; the hops are told in cells to come, if there are any. */
  cancelAll(): void {
    this.#over = true
    for (const mux of this.#muxes) mux?.resetAll(ResetCode.CANCELLED)
  }

  /** Ends all streams, with no cells to come. */
  close(): void {
    this.#over = true
    for (const mux of this.#muxes) mux?.close(ResetCode.CANCELLED)
  }
}

export function ended(): OverlayError {
  return new OverlayError('unreachable', 'CIRCUIT_ENDED', 'The loop is no longer open.')
}

function failure(code: number | null): OverlayError {
  if (code === ResetCode.LOST)
    return new OverlayError('unreachable', 'CELL_LOST', 'A cell of the request or its answer was lost.')
  return new OverlayError('unreachable', 'CIRCUIT_ENDED', `The hop gave no answer (${code ?? 'cut short'}).`)
}

/** Calls `ask`, and again up to `times` more while its cells get lost. */
export async function askAgain<T>(ask: () => Promise<T>, times = LOST_AGAIN): Promise<T> {
  for (let left = times; ; left--) {
    try {
      return await ask()
    } catch (error) {
      if (left === 0 || !isOverlayError(error, 'CELL_LOST')) throw error
    }
  }
}

/** How often a request is asked again whose cells were lost. */
const LOST_AGAIN = 2
