/**
 * Two ends of a session's streams without handshake, payloads or loss: what is written at one end comes at the other in a later turn, within
 * a credit of bytes. For tests of what stands on sessions.
 */
import type { SessionStream, SessionStreamEvents, StreamReset } from '../../src/service/index.ts'

/** Bytes under way to a reader that did not take them. */
const CREDIT_BYTES = 256 * 1024
/** Bytes queued at a writer. */
const QUEUE_BYTES = 64 * 1024
/** As a payload brings them. */
const PIECE_BYTES = 1900

export class FakeStream implements SessionStream {
  readonly id: number
  readonly port: number
  events: SessionStreamEvents | null = null
  peer: FakeStream | null = null
  accepted = false
  closed = false
  /** Code of a reset by this end. */
  resetBy: StreamReset | null = null
  #queue: Uint8Array[] = []
  #queued = 0
  #credit = CREDIT_BYTES
  #ended = false
  #finSent = false
  #full = false
  #due = false

  constructor(id: number, port: number) {
    this.id = id
    this.port = port
  }

  get heldBytes(): number {
    return this.#queued
  }

  write(chunk: Uint8Array): boolean {
    if (this.closed || this.#ended) return true
    this.#queue.push(chunk)
    this.#queued += chunk.length
    this.#later()
    this.#full = this.#queued >= QUEUE_BYTES
    return !this.#full
  }

  end(): void {
    this.#ended = true
    this.#later()
  }

  reset(code: StreamReset): void {
    if (this.closed) return
    this.closed = true
    this.resetBy = code
    setImmediate(() => this.peer?.die(code))
  }

  /** The other end, or the session, ended it. */
  die(code: number | null): void {
    if (this.closed) return
    this.closed = true
    this.events?.onClose(code)
  }

  consumed(bytes: number): void {
    if (this.peer === null) return
    this.peer.#credit += bytes
    this.peer.#later()
  }

  accept(): void {
    this.accepted = true
    setImmediate(() => this.peer?.events?.onOpened?.())
  }

  #later(): void {
    if (this.#due) return
    this.#due = true
    setImmediate(() => {
      this.#due = false
      this.#send()
    })
  }

  #send(): void {
    const { peer } = this
    if (peer === null || this.closed) return
    while (this.#queue.length > 0 && this.#credit > 0) {
      const first = this.#queue[0]!
      const piece = first.subarray(0, Math.min(PIECE_BYTES, this.#credit))
      if (piece.length === first.length) this.#queue.shift()
      else this.#queue[0] = first.subarray(piece.length)
      this.#credit -= piece.length
      this.#queued -= piece.length
      // Borrowed until return: what is read later is not there any more.
      const lent = new Uint8Array(piece.length + 7).fill(0xee)
      lent.set(piece, 7)
      peer.events?.onData(lent, 7, piece.length)
      lent.fill(0xdd)
    }
    if (this.#full && this.#queued < QUEUE_BYTES / 2) {
      this.#full = false
      this.events?.onDrain()
    }
    if (this.#queue.length > 0 || !this.#ended || this.#finSent) return
    this.#finSent = true
    peer.events?.onFin()
    if (!peer.#finSent) return
    this.die(null)
    peer.die(null)
  }
}

/** The client's end and the service's end of one stream to `port`. */
export function fakeStreamPair(port: number, id = 1): readonly [FakeStream, FakeStream] {
  const client = new FakeStream(id, port)
  const service = new FakeStream(id, port)
  client.peer = service
  service.peer = client
  return [client, service]
}
