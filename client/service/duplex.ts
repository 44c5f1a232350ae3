/**
 * A session's stream as a `node:stream` Duplex: what faces and sockets use. Half-close in both directions, back-pressure in both (the peer
 * may send as much more as the reader took; a writer waits while enough is queued), destroying it resets the stream.
 *
 * Payloads come by the thousand, each with less than 2 KiB: what comes in one turn goes to the reader as one chunk. Small pieces that a slow
 * reader leaves lying are held together: the other end may send single bytes, and credit counts bytes, not what an object for each would cost.
 * Chunks that are written are copied, because the stream keeps them until the other end has them, and Node lets their owners change them sooner.
 */
import { Duplex } from 'node:stream'
import { OverlayError } from '../../src/errors/index.ts'
import { type SessionStream, type SessionStreamEvents, StreamReset } from '../../src/service/index.ts'

// Implementation constants.
/** Bytes that wait for the reader before the peer is not told to send more. */
const READ_AHEAD_BYTES = 256 * 1024
/** While the reader has something, it is given no more than a chunk at a time, of at least so much. */
const CHUNK_BYTES = 16 * 1024
/** Bytes that wait for room in the stream. */
const WRITE_AHEAD_BYTES = 64 * 1024

export class StreamDuplex extends Duplex implements SessionStreamEvents {
  #stream: SessionStream | null = null
  /** Came, and not yet given to the reader; bounded by the credit that the peer has. Small pieces share blocks of `CHUNK_BYTES`. */
  #gathered: Uint8Array[] = []
  #gatheredBytes = 0
  /** Bytes used of the last of `#gathered`, if it is a block with room; 0: it is none. */
  #used = 0
  #flushDue = false
  /** The reader has enough; `#unread` bytes that it was given are not yet reported as consumed. */
  #full = false
  #unread = 0
  /** The reader waits for more than it has. */
  #hungry = false
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
    this.#gather(bytes, at, length)
    this.#flushLater()
  }

  #gather(bytes: Uint8Array, at: number, length: number): void {
    this.#gatheredBytes += length
    let block = this.#gathered.at(-1)
    // The first of a turn is mostly the only one.
    if (block === undefined || length >= CHUNK_BYTES) {
      this.#closeBlock()
      this.#gathered.push(bytes.slice(at, at + length))
      return
    }
    if (this.#used === 0 || block.length - this.#used < length) {
      this.#closeBlock()
      block = new Uint8Array(CHUNK_BYTES)
      this.#gathered.push(block)
    }
    block.set(bytes.subarray(at, at + length), this.#used)
    this.#used += length
  }

  /** Cuts the last block to what is used of it. */
  #closeBlock(): void {
    const last = this.#gathered.length - 1
    if (this.#used > 0) this.#gathered[last] = this.#gathered[last]!.subarray(0, this.#used)
    this.#used = 0
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
    // The reader has something, and asks for more when it wants it (`read`).
    if (this.readableLength > 0 && this.#gatheredBytes < CHUNK_BYTES && !this.#finCame && !this.#hungry) return
    this.#hungry = false
    this.#closeBlock()
    const parts = this.#gathered
    if (parts.length > 0) {
      this.#gathered = []
      this.#gatheredBytes = 0
      const chunk = parts.length === 1 ? asBuffer(parts[0]!) : Buffer.concat(parts)
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

  /** Whoever has taken all that there was, or wants a piece that is longer, gets what came meanwhile. */
  override read(size?: number): unknown {
    const taken: unknown = super.read(size)
    if ((taken === null && size !== 0) || this.readableLength === 0) {
      this.#hungry = taken === null && size !== 0
      if (this.#gatheredBytes > 0) this.#flushLater()
    }
    return taken
  }

  override _read(): void {
    this.#full = false
    this.#consumed()
    if (this.#gatheredBytes > 0 || this.#finCame) this.#flushLater()
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
    this.#gatheredBytes = 0
    this.#used = 0
    this.#writeDone = null
    done(error)
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
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
