/**
 * One stream as its mux holds it, and as its owner sees it. State; what is sent when is decided in `mux.ts`. Spec: SPEC.md §5.
 */

// Specification constant.
/** Credit that each new stream has, in both directions. */
export const STREAM_CREDIT_BYTES = 128 * 1024

/** What the owner of a stream hears. */
export interface StreamEvents {
  /** `length` bytes from `bytes[at]`, in order. Borrowed until return. The owner calls `consumed` when it is done with them. */
  onData(bytes: Uint8Array, at: number, length: number): void
  /** The peer's direction ended. */
  onFin(): void
  /** The stream is gone: reset (its code), or both directions ended and everything was sent (`null`). Once; nothing follows. */
  onClose(code: number | null): void
}

/** A byte flow in two directions. */
export interface MuxStream {
  readonly id: number
  /** Bytes written and not yet put into cells. */
  readonly queuedBytes: number
  /** Queues `chunk`; it must not change until sent. */
  write(chunk: Uint8Array): void
  /** Ends this direction after what was written. */
  end(): void
  /** Ends both directions at once; `onClose` is not called. */
  reset(code: number): void
  /** Gives the peer credit for `bytes` more. */
  consumed(bytes: number): void
}

/** What a stream asks of its mux. */
export interface StreamHost {
  onQueued(stream: StreamState, bytes: number): void
  onConsumed(stream: StreamState, bytes: number): void
  resetStream(stream: StreamState, code: number): void
}

export class StreamState implements MuxStream {
  readonly id: number
  readonly mux: StreamHost
  events: StreamEvents | null = null
  chunks: Uint8Array[] = []
  /** Bytes of `chunks[0]` already sent. */
  headSent = 0
  queuedBytes = 0
  sent = 0
  sendLimit = STREAM_CREDIT_BYTES
  finQueued = false
  finSent = false
  received = 0
  finReceived = false
  consumedBytes = 0
  advertised = STREAM_CREDIT_BYTES
  ready = false
  creditDue = false

  constructor(mux: StreamHost, id: number) {
    this.mux = mux
    this.id = id
  }

  write(chunk: Uint8Array): void {
    if (this.finQueued || chunk.length === 0) return
    this.chunks.push(chunk)
    this.queuedBytes += chunk.length
    this.mux.onQueued(this, chunk.length)
  }

  end(): void {
    if (this.finQueued) return
    this.finQueued = true
    this.mux.onQueued(this, 0)
  }

  reset(code: number): void {
    this.mux.resetStream(this, code)
  }

  consumed(bytes: number): void {
    this.mux.onConsumed(this, bytes)
  }

  /** Whether a frame of it could go now, loop credit aside. */
  get sendable(): boolean {
    if (this.finSent) return false
    return this.queuedBytes > 0 ? this.sent < this.sendLimit : this.finQueued
  }
}
