/** One request to a hop and its answer, each one message on one stream. Spec: SPEC.md §5. */
import { concat, lengthOf, type Pieces } from '../bytes/index.ts'
import { gyre } from './generated/messages.js'
import {
  COOKIE_BYTES,
  EXCHANGES_MAX,
  HOP_REPLY_BYTES_MAX,
  HOP_REQUEST_BYTES_MAX,
  INTRODUCTION_REQUEST_BYTES_MAX,
  PING_BYTES_MAX,
  RECORD_REQUEST_BYTES_MAX,
  STORE_REPLY_BYTES_MAX,
  STORE_REQUEST_BYTES_MAX,
  TWIN_KEY_BYTES,
  TWINS_MAX,
} from './limits.ts'
import { bytesField, decodeWith, encodeWith, fieldAround, integerField, viewField } from './protobuf.ts'

export interface StoreCall {
  readonly kind: 'store'
  /** A `StoreRequest`, not parsed; at least one byte; a view of the message. */
  readonly request: Uint8Array
}
export interface Ping {
  readonly kind: 'ping'
  /** At most 64 KiB; means nothing. */
  readonly filler: Uint8Array
  /** Length of the answer's body; at most 64 KiB. */
  readonly answerBytes: number
}
export interface RecordCall {
  readonly kind: 'record'
  /** A `RecordRequest`, not parsed; at least one byte; a view of the message. */
  readonly request: Uint8Array
}
export interface IntroductionCall {
  readonly kind: 'introduction'
  /** An `IntroductionRequest`, not parsed; at least one byte; a view of the message. */
  readonly request: Uint8Array
}
export interface Join {
  readonly kind: 'join'
  /** 32 bytes. */
  readonly cookie: Uint8Array
  /** Number of the exchange on its circuit, below 16. */
  readonly exchange: number
}
export interface Twin {
  readonly kind: 'twin'
  /** 1 … `TWINS_MAX`. */
  readonly place: number
  /** 32 bytes each. */
  readonly cellKey: Uint8Array
  readonly answerKey: Uint8Array
  readonly rate: number
  readonly liveEpoch: number
  readonly closeEpoch: number
  readonly holdMs: number
}
export type HopRequest = StoreCall | Ping | RecordCall | IntroductionCall | Join | Twin

const STATUSES = ['ok', 'not-found', 'refused', 'busy', 'bad-request'] as const
export type HopStatus = (typeof STATUSES)[number]

export interface HopReply {
  readonly status: HopStatus
  /** The service's reply, not parsed, or the ping's answer. */
  readonly body: Uint8Array
}

const { HopRequest: RequestCodec, HopReply: ReplyCodec } = gyre.circuit
/** Field numbers of circuit.proto: `HopRequest.store`, `HopReply.body`. */
const STORE_FIELD = 1
const BODY_FIELD = 2

export function encodeHopRequest(request: HopRequest): Uint8Array {
  switch (request.kind) {
    case 'store':
      return encodeWith(RequestCodec, { store: request.request })
    case 'record':
      return encodeWith(RequestCodec, { record: request.request })
    case 'introduction':
      return encodeWith(RequestCodec, { introduction: request.request })
    case 'join':
      return encodeWith(RequestCodec, { join: { cookie: request.cookie, exchange: request.exchange } })
    case 'twin': {
      const { kind, cellKey, answerKey, ...fields } = request
      return encodeWith(RequestCodec, { twin: { ...fields, keys: concat(cellKey, answerKey) } })
    }
    case 'ping':
      break
  }
  return encodeWith(RequestCodec, { ping: { filler: request.filler, answerBytes: request.answerBytes } })
}

/** A store call as pieces: `request` is passed on as it is and must not change until it was sent. */
export function storeCallPieces(request: Pieces): readonly Uint8Array[] {
  return fieldAround(STORE_FIELD, request)
}

/** `null` for anything that is no request within the limits. Never throws. */
export function parseHopRequest(bytes: Uint8Array): HopRequest | null {
  const raw = decodeWith(RequestCodec, bytes, HOP_REQUEST_BYTES_MAX)
  if (raw?.body === 'store') {
    const request = viewField(raw.store, 1, STORE_REQUEST_BYTES_MAX)
    return request && { kind: 'store', request }
  }
  if (raw?.body === 'record') {
    const request = viewField(raw.record, 1, RECORD_REQUEST_BYTES_MAX)
    return request && { kind: 'record', request }
  }
  if (raw?.body === 'introduction') {
    const request = viewField(raw.introduction, 1, INTRODUCTION_REQUEST_BYTES_MAX)
    return request && { kind: 'introduction', request }
  }
  if (raw?.body === 'join') {
    const cookie = bytesField(raw.join?.cookie, COOKIE_BYTES)
    const exchange = integerField(raw.join?.exchange, EXCHANGES_MAX - 1)
    return cookie && exchange !== null ? { kind: 'join', cookie, exchange } : null
  }
  if (raw?.body === 'twin') return twinOf(raw.twin ?? {})
  if (raw?.body !== 'ping') return null
  const filler = bytesField(raw.ping?.filler, 0, PING_BYTES_MAX)
  const answerBytes = integerField(raw.ping?.answerBytes, PING_BYTES_MAX)
  return filler !== null && answerBytes !== null ? { kind: 'ping', filler, answerBytes } : null
}

function twinOf(raw: gyre.circuit.ITwin): Twin | null {
  const keys = bytesField(raw.keys, 2 * TWIN_KEY_BYTES)
  const place = integerField(raw.place, TWINS_MAX)
  const rate = integerField(raw.rate, 0xff)
  const liveEpoch = integerField(raw.liveEpoch, 0xffff_ffff)
  const closeEpoch = integerField(raw.closeEpoch, 0xffff_ffff)
  const holdMs = integerField(raw.holdMs, 0xffff)
  if (keys === null || rate === null || liveEpoch === null || closeEpoch === null || holdMs === null) return null
  if (place === null || place === 0) return null
  const [cellKey, answerKey] = [keys.subarray(0, TWIN_KEY_BYTES), keys.subarray(TWIN_KEY_BYTES)]
  return { kind: 'twin', place, cellKey, answerKey, rate, liveEpoch, closeEpoch, holdMs }
}

export function encodeHopReply(reply: HopReply): Uint8Array {
  return encodeWith(ReplyCodec, { status: STATUSES.indexOf(reply.status), body: reply.body })
}

/** As `encodeHopReply`, with the body passed on as it is. */
export function hopReplyPieces(status: HopStatus, body: Pieces): readonly Uint8Array[] {
  const head = encodeWith(ReplyCodec, { status: STATUSES.indexOf(status) })
  return lengthOf(body) === 0 ? [head] : [head, ...fieldAround(BODY_FIELD, body)]
}

/** The body is a view of `bytes`. `null` for an unknown status or a body over its limit. No bytes at all are `ok` with an empty body. Never throws. */
export function parseHopReply(bytes: Uint8Array): HopReply | null {
  const raw = decodeWith(ReplyCodec, bytes, HOP_REPLY_BYTES_MAX)
  const status = raw === null ? undefined : STATUSES[integerField(raw.status, STATUSES.length) ?? STATUSES.length]
  const body = viewField(raw?.body, 0, STORE_REPLY_BYTES_MAX)
  return status !== undefined && body !== null ? { status, body } : null
}
