/**
 * A session's stream as a `node:stream` Duplex: what faces and sockets use. Half-close in both directions, back-pressure in both (the peer
 * may send as much more as the reader took; a writer waits while enough is queued), destroying it resets the stream.
 *
 * Payloads come by the thousand, each with less than 2 KiB: what comes in one turn goes to the reader as one chunk. Chunks that are written
 * are copied, because the stream keeps them until the other end has them, and Node lets their owners change them sooner.
 */
import { Duplex } from 'node:stream'
import { OverlayError } from '../../src/errors/index.ts'
import { type SessionStream, type SessionStreamEvents, StreamReset } from '../../src/service/index.ts'

// Implementation constants.
/** Bytes that wait for the reader before the peer is not told to send more. */
const READ_AHEAD_BYTES = 256 * 1024
/** Bytes that wait for room in the stream. */
const WRITE_AHEAD_BYTES = 64 * 1024

export class StreamDuplex extends Duplex implements SessionStreamEvents {
  #stream: SessionStream | null = null
  /** Came, and not yet given to the reader; bounded by the credit that the peer has. */
  #gathered: Uint8Array[] = []
  #flushDue = false
  /** The reader has enough; `#unread` bytes that it was given are not yet reported as consumed. */
  #full = false
  #unread = 0
  #finCame = false
  #writeDone: (() => void) | null = null
  #resetCode: StreamReset = StreamReset.CANCELLED
  #closed = false
  readonly #onOpened: () => void
  readonly #onGone: (code: number | null) => void

  /** `onOpened`: the service took the stream. `onGone`: the other end, or the session, ended it; before `close` is emitted. */
  constructor(events: { readonly onOpened?: () => void; readonly onGone?: (code: number | null) => void } = {}) {
    super({ allowHalfOpen: true, readableHighWaterMark: READ_AHEAD_BYTES, writableHighWaterMark: WRITE_AHEAD_BYTES })
    this.#onOpened = events.onOpened ?? (() => {})
    this.#onGone = events.onGone ?? (() => {})
  }

  /** Hands over the stream whose events come here. Once, before anything is written. */
  bind(stream: SessionStream): this {
    this.#stream = stream
    return this
  }

  /** As `destroy`, with a code for the other end. */
  resetWith(code: StreamReset): void {
    this.#resetCode = code
    this.destroy()
  }

  // What comes ---------------------------------------------------------------------------------------------------------------------

  onOpened(): void {
    this.#onOpened()
  }

  onData(bytes: Uint8Array, at: number, length: number): void {
    if (this.destroyed) return
    this.#gathered.push(bytes.slice(at, at + length))
    this.#flushLater()
  }

  onFin(): void {
    this.#finCame = true
    this.#flushLater()
  }

  onDrain(): void {
    const done = this.#writeDone
    this.#writeDone = null
    done?.()
  }

  onClose(code: number | null): void {
    if (this.#closed) return
    this.#closed = true
    this.#onGone(code)
    // Ended by both: the reader may still have to take what came.
    if (code === null) return this.onDrain()
    this.destroy(streamError(code))
  }

  #flushLater(): void {
    if (this.#flushDue) return
    this.#flushDue = true
    queueMicrotask(() => {
      this.#flushDue = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.destroyed || this.#full) return
    const parts = this.#gathered
    if (parts.length > 0) {
      this.#gathered = []
      const chunk = parts.length === 1 ? Buffer.from(parts[0]!.buffer) : Buffer.concat(parts)
      this.#unread += chunk.length
      if (this.push(chunk)) this.#consumed()
      else this.#full = true
    }
    if (this.#finCame && !this.#full) {
      this.#finCame = false
      this.push(null)
    }
  }

  #consumed(): void {
    const bytes = this.#unread
    this.#unread = 0
    // Also after both directions ended: until then it counts against the session's credit.
    if (bytes > 0) this.#stream?.consumed(bytes)
  }

  override _read(): void {
    this.#full = false
    this.#consumed()
    if (this.#gathered.length > 0 || this.#finCame) this.#flushLater()
  }

  // What goes ----------------------------------------------------------------------------------------------------------------------

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(new Uint8Array(chunk), done)
  }

  override _writev(chunks: { chunk: Uint8Array }[], done: (error?: Error | null) => void): void {
    this.#send(new Uint8Array(Buffer.concat(chunks.map(({ chunk }) => chunk))), done)
  }

  #send(owned: Uint8Array, done: () => void): void {
    if (owned.length === 0 || this.#closed || this.#stream === null || this.#stream.write(owned)) return done()
    this.#writeDone = done
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream?.end()
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    // When both directions ended in order the stream lives on until the other end has all of it.
    const inOrder = this.readableEnded && this.writableFinished
    if (!(error === null && inOrder)) {
      this.#closed = true
      this.#stream?.reset(this.#resetCode)
    }
    this.#gathered = []
    this.#writeDone = null
    done(error)
  }
}

/** What a stream's end means to who used it. */
export function streamError(code: number): OverlayError {
  switch (code) {
    case StreamReset.REFUSED:
      return new OverlayError('unreachable', 'SERVICE_REFUSED', 'The service does not offer this port.')
    case StreamReset.TARGET_GONE:
      return new OverlayError(
        'unreachable',
        'SERVICE_REFUSED',
        'What the service forwards this port to does not answer, or broke off.',
      )
    case StreamReset.BUSY:
      return new OverlayError('overload', 'SERVICE_BUSY', 'The service has as many connections as it takes.')
    case StreamReset.SESSION_ENDED:
      return new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'The session with the service was lost while it was in use.')
    default:
      return new OverlayError('unreachable', 'SERVICE_UNREACHABLE', 'The service ended the connection.')
  }
}
