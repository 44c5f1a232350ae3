/**
 * What the two ends of a live service ask of this folder, and what it tells them: handshake, session, streams. Types only. Nothing here
 * touches a socket, a loop or a disk: messages and payloads are bytes that the owner carries. Spec: SPEC.md §11.4 to §11.6.
 */
import type { KeyPair, X25519KeyPair } from '../crypto/index.ts'
import type { ExchangeEnd, ExchangePort } from '../stream/index.ts'

// Handshake -------------------------------------------------------------------------------------------------------------------------

/** Which service, as its record says it. All 32 bytes but the ML-KEM key. */
export interface ServiceIdentity {
  readonly network: Uint8Array
  /** A: key material of the address. */
  readonly address: Uint8Array
  /** A′: the blinded key under which the record that was read lies. */
  readonly blinded: Uint8Array
  /** B: the record's X25519 key. */
  readonly x25519: Uint8Array
  /** M: the record's ML-KEM-768 key, 1184 bytes. */
  readonly mlkem768: Uint8Array
}

/** The service's own keys of one record: B and M with their private halves. */
export interface ServiceKeys {
  readonly x25519: X25519KeyPair
  readonly mlkem768: KeyPair
}

/** A session that goes on: who shows that it has its secret may attach a new exchange to it. */
export interface SessionTicket {
  /** 16 bytes. */
  readonly id: Uint8Array
  /** 32 bytes, secret. */
  readonly secret: Uint8Array
}

/** Keys of one exchange, 32 bytes each, owned by whoever holds them: `Session.prepare` takes and wipes them. */
export interface TrafficKeys {
  readonly toService: Uint8Array
  readonly toClient: Uint8Array
}

/** What a finished handshake gives, the same at both ends. */
export interface Established {
  /** Whether the exchange belongs to the session that the client named; then `ticket` is that session's, unchanged. */
  readonly resumed: boolean
  readonly ticket: SessionTicket
  readonly keys: TrafficKeys
  /** What both show at the rendezvous point, 32 bytes. */
  readonly meetingCookie: Uint8Array
  /** For how long the service's way to the rendezvous point is there, in seconds; 0: no end is known. */
  readonly seconds: number
}

/** What the client knows once the service has answered: where both meet is drawn from it. */
export interface Drawn {
  /** Location whose ranking over the directory, or over `offered`, names the rendezvous point, 32 bytes. */
  readonly location: Uint8Array
  /** The nodes, 32 bytes each, at one of which alone the service can be met; none: any of the directory. At most 8, each once. */
  readonly offered: readonly Uint8Array[]
  readonly resumed: boolean
}

/**
 * Whether the service goes to meet at `node` (32 bytes), which the client named, `location` being what both drew, and `offered` what answer 1
 * told: for how many seconds at most, 0: no end is known, `null`: it does not.
 */
export type MayMeetAt = (location: Uint8Array, node: Uint8Array, offered: readonly Uint8Array[]) => number | null

/** What a service makes of a message 1. `null` in its place: refused, for whatever reason. */
export interface Greeted {
  readonly kind: 'greeted'
  /** To be sent back through the introduction point. */
  readonly answer: Uint8Array
}

/** What a service makes of a message 2. */
export interface Met {
  readonly kind: 'met'
  readonly answer: Uint8Array
  /** The rendezvous point that the client named and `mayMeetAt` accepted: 32 bytes. */
  readonly node: Uint8Array
  /** `null` if the very same message came before: the answer is given again, and nothing else is to be done. */
  readonly established: Established | null
}

// Session ---------------------------------------------------------------------------------------------------------------------------

/** Why a stream was reset. On the wire; it says nothing about the host. */
export const StreamReset = {
  CANCELLED: 0,
  BUSY: 1,
  /** The port is not offered. */
  REFUSED: 2,
  /** What the port leads to does not answer, or broke off. */
  TARGET_GONE: 3,
  /** Local only, never on the wire: the session ended. */
  SESSION_ENDED: 4,
} as const
export type StreamReset = (typeof StreamReset)[keyof typeof StreamReset]

/** What the owner of a stream hears. */
export interface SessionStreamEvents {
  /** Client: the service accepted the stream. Bytes may be written before. Once. */
  onOpened?(): void
  /** `length` bytes from `bytes[at]`, in order. Borrowed until return. The owner calls `consumed` when it is done with them. */
  onData(bytes: Uint8Array, at: number, length: number): void
  /** The peer's direction ended. Once. */
  onFin(): void
  /** `write` returned false, and there is room again. */
  onDrain(): void
  /** The stream is gone: reset (its code), or both directions ended and all was acknowledged (`null`). Once; nothing follows. */
  onClose(code: number | null): void
}

/** A byte flow in two directions. Outlives the exchange that it rides in. */
export interface SessionStream {
  readonly id: number
  /** The virtual port that the client asked for. */
  readonly port: number
  /** Bytes written and not yet acknowledged. */
  readonly heldBytes: number
  /**
   * Queues `chunk`, which is owned by the stream from now on: it must not change. `false`: enough is queued; wait for `onDrain`.
   * After `end`, `reset` or `onClose` it does nothing.
   */
  write(chunk: Uint8Array): boolean
  /** Ends this direction after what was written. */
  end(): void
  /** Ends both directions at once; `onClose` is not called. */
  reset(code: StreamReset): void
  /** The owner is done with `bytes` of what `onData` gave: the peer may send as many more. */
  consumed(bytes: number): void
  /** Service: the stream is taken. Until then, and until something is written, the client hears nothing; `reset` refuses it. */
  accept(): void
}

/** Why a session has no exchange any more. */
export type DetachReason = 'gone' | 'silent'

/** Why a session ended. */
export type SessionEnd =
  /** This end called `close`. */
  | 'closed'
  /** The other end did. */
  | 'peer-closed'
  /** No new exchange came in time. */
  | 'lost'
  /** The peer broke the protocol. */
  | 'protocol'

export interface SessionEvents {
  /** Service: a stream that the client opened; who hears it, or a code to refuse it at once. */
  onOpen?(stream: SessionStream): SessionStreamEvents | StreamReset
  /**
   * Nothing came through the exchange for half a second, though it should have. It may be over soon: a client that brings a new one now loses less
   * time, and if the old one goes on nothing is lost either.
   */
  onQuiet?(): void
  /** The exchange is lost. The client is to bring a new one (`prepare`, `attach`) within `RESUME_MS`; streams wait. */
  onDetached(reason: DetachReason): void
  /** The session is over and all its streams were closed. Once; nothing follows. */
  onEnd(reason: SessionEnd): void
}

/** An end of an exchange, made before the join and bound to its port after it. */
export interface PreparedExchange extends ExchangeEnd {
  /** The join succeeded. Replaces the exchange that the session has, if any, and closes it. */
  attach(port: ExchangePort): void
  /** The join failed. Wipes the keys. Idempotent; does nothing once attached. */
  discard(): void
}

export interface SessionFigures {
  /** Payloads with content sent, acknowledged or given up, and not yet so. */
  readonly inFlight: number
  readonly windowPayloads: number
  /** Smoothed, in milliseconds; 0 before the first acknowledgement. */
  readonly roundTripMs: number
  /** Payloads sent, of them with content; received; taken for lost. */
  readonly sent: number
  readonly sentContent: number
  readonly received: number
  readonly lost: number
  /** Bytes of streams held at this end: written and not acknowledged; received ahead of a gap. */
  readonly heldBytes: number
  readonly aheadBytes: number
  /** Memory for what came and was not consumed yet: delivered or ahead of a gap. */
  readonly keptBytes: number
  readonly streams: number
}

/**
 * One session between a client and a service: reliable byte streams over whatever exchange it has now. `new Session({ role, ticket, clock,
 * events })`. Made by both sides when a handshake ends without `resumed`; a resumed one gives its keys to `prepare` of the session that the
 * ticket names.
 */
export interface ServiceSession {
  /** Of the handshake that made it; owned by the session, overwritten at its end. */
  readonly ticket: SessionTicket
  /** Whether an exchange carries it now. */
  readonly attached: boolean
  readonly over: boolean
  readonly figures: SessionFigures
  /** Streams open now. */
  readonly openStreams: number
  /** An end for the next exchange, to be handed to the join. Takes the keys. */
  prepare(keys: TrafficKeys): PreparedExchange
  /** Client: a stream to the service's virtual port; `null` if too many are open or the session is over. Works while detached as well. */
  open(port: number, events: SessionStreamEvents): SessionStream | null
  /** Tells the other end, then ends; streams are closed with `SESSION_ENDED`. Idempotent. */
  close(): void
}
